"""Built-in names, registered through the same hooks as those of third parties."""

from __future__ import annotations

from p2r_bench import hookimpl
from p2r_bench.commands import CommandGroup
from p2r_bench.hookspecs import Register


@hookimpl
def register_modes(register: Register) -> None:
    register("default", "p2r_bench.modes.default:Default")
    register("thinking", "p2r_bench.modes.thinking:Thinking")
    register("p2r", "p2r_bench.modes.p2r:P2R")
    register("oracle", "p2r_bench.modes.oracle:Oracle")
    register("blind", "p2r_bench.modes.blind:Blind")
    register("crop-only", "p2r_bench.modes.crop_only:CropOnly")
    register("p2r-full", "p2r_bench.modes.p2r_full:P2RFull")
    register("p2r-blank", "p2r_bench.modes.p2r_blank:P2RBlank")
    register("p2r-random", "p2r_bench.modes.p2r_random:P2RRandom")
    register("p2r-shuffled", "p2r_bench.modes.p2r_shuffled:P2RShuffled")


@hookimpl
def register_tasks(register: Register) -> None:
    register("V-Star", "p2r_bench.tasks.vstar:VStar")
    register("HR-Bench", "p2r_bench.tasks.hr_bench:HRBench")
    register("MME-RealWorld", "p2r_bench.tasks.mme_realworld:MMERealWorld")
    register("MME-RealWorld-lite", "p2r_bench.tasks.mme_realworld:MMERealWorldLite")
    register("Synth-HR", "p2r_bench.tasks.synth_hr:SynthHR")


@hookimpl
def register_judges(register: Register) -> None:
    register("strict", "p2r_bench.judges.strict:Strict")
    register("original", "p2r_bench.judges.original:Original")
    register("vlmevalkit", "p2r_bench.judges.vlmevalkit:VLMEvalKit")
    register("numeric", "p2r_bench.judges.numeric:Numeric")
    register("yes-no", "p2r_bench.judges.yes_no:YesNo")
    register("word", "p2r_bench.judges.word:Word")
    register("verifier", "p2r_bench.judges.verifier:Verifier")


@hookimpl
def register_engines(register: Register) -> None:
    register("transformers", "p2r_bench.engines.transformers:TransformersEngine")
    register("openai", "p2r_bench.engines.openai:OpenAIEngine")
    register("vllm", "p2r_bench.engines.vllm:VLLMEngine")


@hookimpl
def register_families(register: Register) -> None:
    families = "p2r_bench.families"
    register("qwen3-vl", f"{families}.qwen3_vl:Qwen3VL")
    register("qwen2.5-vl", f"{families}.qwen2_5_vl:Qwen25VL")
    register("glm-4v", f"{families}.glm_4v:Glm4V")
    register("gemma", f"{families}.gemma:Gemma")
    register("internvl", f"{families}.internvl:InternVL")
    register("pixels-seen", f"{families}.pixels_seen:PixelsSeen")
    register("server", f"{families}.server:Server")


@hookimpl
def register_commands(cli: CommandGroup) -> None:
    commands = "p2r_bench.cli"
    cli.lazy("run", f"{commands}.run:command", "Run models over benchmarks and score the answers.")
    cli.lazy("leaderboard", f"{commands}.leaderboard:command", "Show the table of all runs.")
    cli.lazy("runs", f"{commands}.runs:command", "List, show and remove runs.")
    cli.lazy(
        "show", f"{commands}.show:command", "Show one sample of a run: stages, boxes, verdicts."
    )
    cli.lazy("compare", f"{commands}.compare:command", "Compare runs sample by sample.")
    cli.lazy(
        "power", f"{commands}.power:command", "Compute the differences that a benchmark can show."
    )
    cli.lazy(
        "attribute", f"{commands}.attribute:command", "Attribute errors to perceiving or reasoning."
    )
    cli.lazy(
        "reproduce", f"{commands}.reproduce:command", "Set published figures against stored runs."
    )
    cli.lazy("repeats", f"{commands}.repeats:command", "Show the spread of repeated runs.")
    cli.lazy("plot", f"{commands}.plot:command", "Draw accuracy against visual tokens and cost.")
    cli.lazy("score", f"{commands}.score:command", "Judge stored answers again.")
    cli.lazy(
        "tasks", f"{commands}.tasks:command", "List benchmarks and the location of their data."
    )
    cli.lazy("modes", f"{commands}.modes:command", "List modes, their roles and parameters.")
    cli.lazy("data", f"{commands}.data:command", "Fetch, check or synthesise benchmark data.")
    cli.lazy("profile", f"{commands}.profile:command", "List, show and compare profiles.")
    cli.lazy("prompts", f"{commands}.prompts:command", "List, show and import prompt packs.")
    cli.lazy("plugins", f"{commands}.plugins:command", "List plugins and what they add.")
    cli.lazy("plugin", f"{commands}.plugin:command", "Create a plugin package.")
    cli.lazy("train", f"{commands}.train:command", "Train a model with a trainer plugin.")
    cli.lazy("doctor", f"{commands}.doctor:command", "List installed and missing packages.")
