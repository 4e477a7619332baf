"""The command line: `p2r-bench COMMAND`. One file per command, imported when the command is used."""

from __future__ import annotations

import errno

import click

from p2r_bench import __version__
from p2r_bench.commands import LazyCommand
from p2r_bench.errors import UserError
from p2r_bench.plugins import discover, report
from p2r_bench.terminal import echo, escape_log, printable

STRICT = "--strict-plugins"


class Root(click.Group):
    """`p2r-bench`, with the commands of the built-ins and the plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(discover().names("command"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in discover().names("command"):
            return None
        command: LazyCommand | click.Command = discover().get("command", cmd_name)
        return command.load() if isinstance(command, LazyCommand) else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for entry in discover().entries("command"):
            command = entry.target
            text = (
                command.help if isinstance(command, LazyCommand) else command.get_short_help_str(80)
            )
            rows.append((entry.name, text))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept `--strict-plugins` anywhere before a `--`."""
        end = args.index("--") if "--" in args else len(args)
        if STRICT in args[:end]:
            args = [STRICT, *(a for a in args[:end] if a != STRICT), *args[end:]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise Refusal(str(error)) from error
        except click.ClickException as error:
            vars(error)["message"] = printable(error.message)  # typed as final
            raise
        except KeyboardInterrupt:
            echo("Interrupted.", err=True)
            raise SystemExit(130) from None
        except OSError as error:
            if error.errno in (None, errno.EPIPE):
                raise
            raise Refusal(_of_the_system(error)) from error
        except MemoryError as error:
            raise Refusal(_TOO_LITTLE_MEMORY) from error
        except ExceptionGroup as group:
            first = _first(group)
            if isinstance(first, MemoryError):
                raise Refusal(_TOO_LITTLE_MEMORY) from group
            if isinstance(first, OSError) and first.errno not in (None, errno.EPIPE):
                raise Refusal(_of_the_system(first)) from group
            raise


_TOO_LITTLE_MEMORY = (
    "too little memory; a smaller --in-flight or --image-memory needs less. Recorded samples are kept, and the same "
    "command resumes the run"
)


def _first(error: Exception) -> Exception:
    """Return the first exception of nested groups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _of_the_system(error: OSError) -> str:
    """Return the message for a failure of the disk or the network that no other code explains."""
    where = f"{error.filename}: " if error.filename else ""
    ways = {
        errno.ENOSPC: "; make room and run the same command again",
        errno.EDQUOT: "; make room and run the same command again",
        errno.EACCES: "; change its permissions, or name another place",
        errno.EPERM: "; change its permissions, or name another place",
        errno.EROFS: "; name another place",
        errno.EMFILE: "; allow more open files, as with `ulimit -n 4096`",
        errno.ENFILE: "; the system has too many open files",
        errno.ENOMEM: f"; {_TOO_LITTLE_MEMORY}",
    }
    return f"{where}{error.strerror or error}{ways.get(error.errno or 0, '')}"


class Refusal(click.ClickException):
    """UserError on the command line: the message on stderr, exit status 2."""

    exit_code = 2

    def format_message(self) -> str:
        return printable(super().format_message())


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    STRICT,
    is_flag=True,
    envvar="P2R_BENCH_STRICT_PLUGINS",
    help="Make a plugin that cannot be loaded an error. Allowed anywhere on the command line.",
)
def main(strict_plugins: bool) -> None:
    """Benchmark vision-language models under Perceive-to-Reason.

    The first run needs neither a GPU nor a dataset: p2r-bench run --mode default,p2r --tasks Synth-HR
    """
    escape_log()
    report(strict_plugins)
