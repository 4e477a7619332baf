"""What the user's TOML file says, typed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.bundled import model_profile
from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.contradictions import check
from p2r_bench_pra_grpo.fields import read
from p2r_bench_pra_grpo.preset_files import merged, read_preset
from p2r_bench_pra_grpo.stage import STAGE_ROLES, StageRole

DataFormat = Literal["p2r-10k", "synth-hr"]
Rule = Literal["veto", "penalty", "log"]


@dataclass(frozen=True)
class GRPO:
    """Hyper-parameters of one stage; `Config.grpo_for` gives those of a role.

    Attributes:
        group: Rollouts per prompt.
        batch: Prompts per step.
        mini_batch: Prompts per update of the policy; None takes `batch`.
        learning_rate: Of AdamW, constant.
        kl: Weight of the k3 estimate of the KL divergence to the reference, the stage's start, in the loss.
        clip: The ratio is clipped to 1 - clip … 1 + clip.
        entropy: Weight of an entropy bonus.
        epochs: Passes over the data.
        max_steps: End of the stage, also in the middle of an epoch; None for the end of the epochs.
        temperature, top_p: Of the rollouts.
        loss: How token losses of a mini-batch are put together: mean over its tokens, or over each sequence first.
        max_prompt_tokens: Longest prompt, visual tokens included; None computes it from the profile.
        max_response_tokens: Cap of a rollout; None takes the profile's for the call's role.
        save_every: Steps between checkpoints.
    """

    group: int = field(default=8, metadata={"least": 2})
    batch: int = field(default=64, metadata={"least": 1})
    mini_batch: int | None = field(default=None, metadata={"least": 1})
    learning_rate: float = field(default=1e-6, metadata={"more_than": 0})
    kl: float = field(default=0.01, metadata={"least": 0})
    clip: float = field(default=0.2, metadata={"more_than": 0})
    entropy: float = field(default=0.0, metadata={"least": 0})
    epochs: int = field(default=1, metadata={"least": 1})
    max_steps: int | None = field(default=None, metadata={"least": 1})
    temperature: float = field(default=1.0, metadata={"more_than": 0})
    top_p: float = field(default=1.0, metadata={"more_than": 0, "most": 1})
    loss: Literal["token-mean", "seq-mean-token-mean"] = "token-mean"
    max_prompt_tokens: int | None = field(default=None, metadata={"least": 1})
    max_response_tokens: int | None = field(default=None, metadata={"least": 1})
    save_every: int = field(default=20, metadata={"least": 1})

    @property
    def prompts_per_update(self) -> int:
        """Prompts in a mini-batch."""
        return self.mini_batch or self.batch


@dataclass(frozen=True)
class BoxTerm:
    """A condition on the perceiver's boxes.

    Attributes:
        rule: "veto" makes the reward 0, "penalty" takes `weight` off, "log" does nothing.
        weight: Of a penalty.
    """

    rule: Rule = "veto"
    weight: float = field(default=0.5, metadata={"least": 0})


@dataclass(frozen=True)
class OverlapTerm(BoxTerm):
    """Two boxes overlap.

    Attributes:
        iou: By more than this intersection over union.
    """

    iou: float = field(default=0.5, metadata={"least": 0, "most": 1})


@dataclass(frozen=True)
class LabelTerm(BoxTerm):
    """A box has no label, or its label is the prompt's own example.

    Attributes:
        placeholders: Further labels that count as none.
    """

    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True)
class RewardTerms:
    """What a right answer is worth, and what is held against the boxes. The defaults are the published rule.

    Attributes:
        answer: Reward of a right answer.
    """

    answer: float = field(default=1.0, metadata={"more_than": 0})
    overlap: OverlapTerm = field(default_factory=OverlapTerm)
    label: LabelTerm = field(default_factory=LabelTerm)


@dataclass(frozen=True)
class DataConfig:
    """One source of training samples.

    Attributes:
        format: "p2r-10k" (parquet with prompt, images, answer form, ground truth) or "synth-hr" (the core's task).
        path: File or folder of "p2r-10k"; of "synth-hr" a folder made by `p2r-bench data synth`, or None to make it.
        images: Root of relative image paths; None for the folder of the parquet file.
        weight: How often a row is used in an epoch: 1 once, 0.5 every second one, 2 twice.
        limit: Only the first so many rows.
        params: Parameters of the task "synth-hr" (seed, rows, resolution).
    """

    format: DataFormat
    path: Path | None = None
    images: Path | None = None
    weight: float = field(default=1.0, metadata={"more_than": 0})
    limit: int | None = field(default=None, metadata={"least": 1})
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceConfig:
    """How one frozen model is reached.

    Attributes:
        kind: "engine" runs it in this process by a registered engine, "start" starts a server on this machine,
            "url" uses servers that run already.
        engine, engine_args: Of kind "engine".
        command: Words of the server's command for "start", with {model}, {name} and {port} filled in.
        environment: Environment variables of that server, beside this process's own.
        host, port: Where the started server listens.
        gpus: Devices for the started server (CUDA_VISIBLE_DEVICES); empty leaves the variable alone.
        urls: Base URLs of servers that run already; of the verifier one.
        model: Name under which the model is served. None expects one that holds the digest of
            the weights, so that a server with other weights is refused; the verifier needs a name.
        start_timeout: Seconds a started server may take until it answers.
    """

    kind: Literal["engine", "start", "url"] = "engine"
    engine: str = "transformers"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = field(default=8100, metadata={"least": 1, "most": 65535})
    gpus: tuple[int, ...] = ()
    urls: tuple[str, ...] = ()
    model: str | None = None
    start_timeout: float = field(default=900.0, metadata={"more_than": 0})

    @property
    def url(self) -> str:
        """Base URL of a server that is started here."""
        return f"http://{self.host}:{self.port}/v1"


@dataclass(frozen=True)
class Services:
    """The frozen models and the verifier.

    Attributes:
        verifier: Server of the judge "verifier"; its URL and its model's name, which is needed, are handed to the
            judge. None leaves the judge as `judges` says.
        concurrency: Requests in flight at once, per frozen model, and to the verifier.
        timeout: Seconds to wait for an answer.
        retries: How often a failed call is repeated before its rollout leaves its group.
        pause_after: So many calls of one of them failing in a row pause the stage until it answers again.
        pause_at_most: Seconds of such a pause, after which the training stops, to be resumed.
    """

    reasoner: ServiceConfig = field(default_factory=ServiceConfig)
    perceiver: ServiceConfig = field(default_factory=ServiceConfig)
    verifier: ServiceConfig | None = None
    concurrency: int = field(default=32, metadata={"least": 1})
    timeout: float = field(default=600.0, metadata={"more_than": 0})
    retries: int = field(default=4, metadata={"least": 0})
    pause_after: int = field(default=16, metadata={"least": 1})
    pause_at_most: float = field(default=900.0, metadata={"least": 0})


@dataclass(frozen=True)
class Evaluation:
    """The core's own evaluation of the start model and after every round.

    Attributes:
        tasks, modes: What is run; the first mode's accuracy decides about early stopping.
        engine, engine_args: What runs the models, also for the load tests.
        data_dir, task_params, limit, seed, scorer: As of `p2r-bench run`; the scorer judges rollouts as well.
        stop_after: End after so many rounds in a row without a gain of `gain`; None never stops early.
        gain: Points of accuracy, 0 to 100, that count as one.
        out: Where runs and the leaderboard go; None for `results` below the training's folder.
    """

    tasks: tuple[str, ...] = ("Synth-HR",)
    modes: tuple[str, ...] = ("p2r",)
    engine: str = "transformers"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path | None = None
    task_params: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = field(default=None, metadata={"least": 1})
    seed: int = 0
    scorer: str | None = None
    out: Path | None = None
    stop_after: int | None = field(default=None, metadata={"least": 1})
    gain: float = 0.0


@dataclass(frozen=True)
class Config:
    """A whole training.

    Attributes:
        model: Where it starts: a Hugging Face folder, a hub id, or the name of a bundled model.
        revision: Of a hub id.
        out: Folder of everything that is written.
        backend: "embedded" (this process, any machine), "verl" (Ray and GPUs), or "module:Class" of another one.
        profile: Name or path; None takes the one that the model folder names, else "p2r".
        stages: Roles trained in a round, in order: perceiver, reasoner, baseline.
        rounds: How often the stages are gone through.
        seed: Of the order of the data and of the rollouts.
        data: A table for each source.
        judges: Scorer to keyword arguments of its judge.
        grpo: Hyper-parameters; the tables `grpo.perceiver`, `grpo.reasoner` and `grpo.baseline` of the file
            override them for a role.
        embedded, verl: Tables of the backends.
        about: Where the preset's figures come from.
    """

    model: str
    out: Path
    data: tuple[DataConfig, ...]
    backend: str = "embedded"
    revision: str | None = None
    profile: str | None = None
    stages: tuple[StageRole, ...] = ("perceiver", "reasoner")
    rounds: int = field(default=1, metadata={"least": 1})
    seed: int = 0
    grpo: GRPO = field(default_factory=GRPO)
    roles: Mapping[str, GRPO] = field(default_factory=dict)
    reward: RewardTerms = field(default_factory=RewardTerms)
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    services: Services = field(default_factory=Services)
    evaluation: Evaluation = field(default_factory=Evaluation)
    embedded: Mapping[str, Any] = field(default_factory=dict)
    verl: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

    def grpo_for(self, role: StageRole) -> GRPO:
        """Hyper-parameters of a role's stages."""
        return self.roles.get(role, self.grpo)

    def service_for(self, role: StageRole) -> ServiceConfig:
        """How the model is reached that is frozen while `role` is trained."""
        return self.services.reasoner if role == "perceiver" else self.services.perceiver


def load_config(values: Mapping[str, Any]) -> Config:
    """A configuration from the values of a TOML file: those of its `preset`, overridden by its own.

    Raises:
        UserError: A key is unknown or missing, a value is of the wrong type, or two of them contradict each other.
    """
    values = dict(values)
    preset = values.pop("preset", None)
    if preset is not None:
        values = merged(read_preset(preset), values)
    grpo = dict(values.get("grpo", {}))
    overrides = {role: grpo.pop(role) for role in STAGE_ROLES if role in grpo}
    values["grpo"] = grpo
    if "roles" in values:
        raise UserError(
            "roles: no such key; hyper-parameters of a role are in grpo.perceiver and the like"
        )
    config = read(Config, values)
    roles: dict[str, GRPO] = {
        role: read(GRPO, {**grpo, **own}, f"grpo.{role}") for role, own in overrides.items()
    }
    config = replace(config, roles=roles)
    check(config)
    return config


def profile_of(config: Config) -> Profile:
    """The profile of a training.

    Raises:
        UserError: There is no such profile.
    """
    return load_profile(profile_name(config))


def profile_name(config: Config) -> str:
    """Its name or path: the one that is configured, else the start model's own, else "p2r"."""
    return config.profile or model_profile(config.model) or "p2r"
