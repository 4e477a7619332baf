"""Configuration of a training: the values of the user's TOML file, typed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.errors import UserError
from p2r_bench.models import model_profile
from p2r_bench_pra_grpo.contradictions import check
from p2r_bench_pra_grpo.preset_files import merged, read_preset
from p2r_bench_pra_grpo.reading import REMOVED, TABLE, Count, NotNegative, Positive, read
from p2r_bench_pra_grpo.stage import STAGE_ROLES, StageRole

DataFormat = Literal["p2r-10k", "synth-hr"]
Rule = Literal["veto", "penalty", "log"]


@dataclass(frozen=True, config=TABLE)
class GRPO:
    """Hyper-parameters of one stage; `Config.grpo_for` gives those of a role.

    Attributes:
        num_generations: Rollouts per prompt, the size of a group.
        batch_size: Prompts per step.
        mini_batch_size: Prompts per update of the policy; None takes `batch_size`.
        learning_rate: Constant learning rate of AdamW.
        beta: Weight in the loss of the KL divergence (k3 estimate) to the reference, which is the stage's start.
        epsilon: The ratio is clipped to 1 - epsilon … 1 + epsilon.
        entropy_coef: Weight of an entropy bonus.
        num_epochs: Passes over the data.
        max_steps: Last step of the stage, also in the middle of an epoch; None for the end of the epochs.
        temperature, top_p: Sampling of the rollouts.
        loss_aggregation: Mean over the tokens of a mini-batch, or over its sequences of the mean over their tokens.
        max_prompt_tokens: Longest prompt, visual tokens included; None computes it from the profile.
        max_response_tokens: Longest rollout; None takes the profile's limit for the call's role.
        save_steps: Steps between checkpoints.
    """

    num_generations: Annotated[int, Field(ge=2)] = 8
    batch_size: Count = 64
    mini_batch_size: Count | None = None
    learning_rate: Positive = 1e-6
    beta: NotNegative = 0.01
    epsilon: Positive = 0.2
    entropy_coef: NotNegative = 0.0
    num_epochs: Count = 1
    max_steps: Count | None = None
    temperature: Positive = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    loss_aggregation: Literal["token-mean", "seq-mean-token-mean"] = "token-mean"
    max_prompt_tokens: Count | None = None
    max_response_tokens: Count | None = None
    save_steps: Count = 20

    @property
    def prompts_per_update(self) -> int:
        """Prompts in a mini-batch."""
        return self.mini_batch_size or self.batch_size

    def steps(self, samples: int) -> int:
        """Return the steps of a stage on a number of samples; only whole batches count.

        Raises:
            UserError: The samples are fewer than one batch.
        """
        steps = self.num_epochs * (samples // self.batch_size)
        if steps == 0:
            raise UserError(
                f"{samples} training samples are fewer than the {self.batch_size} of one step: "
                "lower grpo.batch_size or add data"
            )
        return min(steps, self.max_steps or steps)


@dataclass(frozen=True, config=TABLE)
class BoxTerm:
    """A condition on the perceiver's boxes.

    Attributes:
        rule: "veto" makes the reward 0, "penalty" takes `weight` off, "log" does nothing.
        weight: Amount of a penalty.
    """

    rule: Rule = "veto"
    weight: NotNegative = 0.5


@dataclass(frozen=True, config=TABLE)
class OverlapTerm(BoxTerm):
    """Two boxes overlap.

    Attributes:
        iou: Largest intersection over union of boxes that do not overlap.
    """

    iou: Annotated[float, Field(ge=0, le=1)] = 0.5


@dataclass(frozen=True, config=TABLE)
class LabelTerm(BoxTerm):
    """A box has no label, or its label is the prompt's own example.

    Attributes:
        placeholders: Further labels that count as none.
    """

    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, config=TABLE)
class RewardTerms:
    """Reward of a right answer, and penalties of the boxes. The defaults are the published rule.

    Attributes:
        answer: Reward of a right answer.
    """

    answer: Positive = 1.0
    overlap: OverlapTerm = field(default_factory=OverlapTerm)
    label: LabelTerm = field(default_factory=LabelTerm)


@dataclass(frozen=True, config=TABLE)
class DataConfig:
    """One source of training samples.

    Attributes:
        format: "p2r-10k" (parquet with prompt, images, answer form, ground truth) or "synth-hr" (the core's task).
        path: File or folder of "p2r-10k"; of "synth-hr" a folder made by `p2r-bench data synth`, or None to make it.
        images: Root of relative image paths; None for the folder of the parquet file.
        weight: Uses of a row in an epoch: 1 once, 0.5 every second row, 2 twice.
        limit: Number of rows to use, from the first one.
        params: Parameters of the task "synth-hr" (seed, rows, resolution).
    """

    format: DataFormat
    path: Path | None = None
    images: Path | None = None
    weight: Positive = 1.0
    limit: Count | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=TABLE)
class ServiceConfig:
    """Service of one frozen model.

    Attributes:
        kind: "engine" runs it in this process by a registered engine, "start" starts a server on this machine,
            "url" uses servers that run already.
        engine, engine_args: Engine of kind "engine", and its arguments.
        command: Words of the server's command for "start", with {model}, {name} and {port} filled in.
        environment: Environment variables of that server, beside this process's own.
        host, port: Address of the started server.
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
    port: Annotated[int, Field(ge=1, le=65535)] = 8100
    gpus: tuple[int, ...] = ()
    urls: tuple[str, ...] = ()
    model: str | None = None
    start_timeout: Positive = 900.0

    @property
    def url(self) -> str:
        """Base URL of a server that is started here."""
        return f"http://{self.host}:{self.port}/v1"


@dataclass(frozen=True, config=TABLE)
class Services:
    """The frozen models and the verifier.

    Attributes:
        verifier: Server of the judge "verifier"; its URL and its model's name, which is needed, are handed to the
            judge. None leaves the judge as `judges` says.
        concurrency: Requests in flight at once, per frozen model, and to the verifier.
        timeout: Seconds to wait for an answer.
        retries: Retries of a failed call before its rollout leaves its group.
        pause_after: Consecutive failures of one service that pause the stage until it answers again.
        pause_at_most: Longest pause in seconds. The training then stops and can be resumed.
    """

    reasoner: ServiceConfig = field(default_factory=ServiceConfig)
    perceiver: ServiceConfig = field(default_factory=ServiceConfig)
    verifier: ServiceConfig | None = None
    concurrency: Count = 32
    timeout: Positive = 600.0
    retries: Annotated[int, Field(ge=0)] = 4
    pause_after: Count = 16
    pause_at_most: NotNegative = 900.0


@dataclass(frozen=True, config=TABLE)
class Evaluation:
    """The core's own evaluation of the start model and after every round.

    Attributes:
        tasks, modes: Tasks and modes of the evaluation; the first mode's accuracy decides about early stopping.
        engine, engine_args: Engine of the models, also for the load tests.
        data_dir, task_params, limit, seed, scorer: Options of `p2r-bench run`; the scorer judges rollouts as well.
        stop_after: Number of consecutive rounds without a gain of `gain` after which the training ends; None never
            stops early.
        gain: Smallest gain that counts, in points of accuracy, 0 to 100.
        out: Folder of runs and leaderboard; None for `results` below the training's folder.
    """

    tasks: tuple[str, ...] = ("Synth-HR",)
    modes: tuple[str, ...] = ("p2r",)
    engine: str = "transformers"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path | None = None
    task_params: Mapping[str, Any] = field(default_factory=dict)
    limit: Count | None = None
    seed: int = 0
    scorer: str | None = None
    out: Path | None = None
    stop_after: Count | None = None
    gain: float = 0.0


@dataclass(frozen=True, config=TABLE)
class Config:
    """A whole training.

    Attributes:
        model: Start of the training: a Hugging Face folder, a hub id, or the name of a bundled model.
        revision: Revision of a hub id.
        out: Folder of all results.
        backend: "embedded" (this process, any machine), "verl" (Ray and GPUs), or "module:Class" of another one.
        profile: Name or path; None takes the one that the model folder names, else "p2r".
        stages: Roles trained in each round, in this order, from perceiver, reasoner and baseline; by default the first
            two.
        rounds: Number of rounds; each runs all stages.
        seed: Seed of the order of the data and of the rollouts.
        data: A table for each source.
        judges: Scorer to keyword arguments of its judge.
        grpo: Hyper-parameters.
        roles: Hyper-parameters per role: `grpo`, changed by the file's tables `grpo.perceiver`, `grpo.reasoner` and
            `grpo.baseline`.
        reward, services, evaluation: Tables of those names.
        embedded, verl: Tables of the backends.
        about: Source of the preset's figures.
    """

    model: str
    out: Path
    data: tuple[DataConfig, ...]
    backend: str = "embedded"
    revision: str | None = None
    profile: str | None = None
    stages: tuple[StageRole, ...] = ("perceiver", "reasoner")
    rounds: Count = 1
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
        """Return the hyper-parameters of a role's stages."""
        return self.roles.get(role, self.grpo)

    def service_for(self, role: StageRole) -> ServiceConfig:
        """Return the service of the model that is frozen while `role` is trained."""
        return self.services.reasoner if role == "perceiver" else self.services.perceiver


def load_config(values: Mapping[str, Any]) -> Config:
    """Return the configuration of a TOML file: the values of its `preset`, overridden by its own.

    Raises:
        UserError: A key is unknown or missing, a value is of the wrong type, or two values contradict each other.
    """
    values = dict(values)
    preset = values.pop("preset", None)
    if preset is not None:
        values = merged(read_preset(preset), values)
    grpo = dict(values.get("grpo", {}))
    overrides = {role: grpo.pop(role) for role in STAGE_ROLES if role in grpo}
    values["grpo"] = grpo
    if "roles" in values:
        raise UserError(f"roles: no such key; {REMOVED['roles']}")
    config = read(Config, values)
    roles: dict[str, GRPO] = {
        role: read(GRPO, {**grpo, **own}, f"grpo.{role}") for role, own in overrides.items()
    }
    config = replace(config, roles=roles)
    check(config)
    return config


def profile_of(config: Config) -> Profile:
    """Return the profile of a training.

    Raises:
        UserError: The profile does not exist.
    """
    return load_profile(profile_name(config))


def profile_name(config: Config) -> str:
    """Return the profile's name or path: the configured one, else the start model's own, else "p2r"."""
    return config.profile or model_profile(config.model) or "p2r"
