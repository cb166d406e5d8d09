"""Every exception that metier raises on purpose, and the exit code each one ends a command with.

    MetierError                    1   a fault of ours, unless a subclass says otherwise
    +-- UserError                  2   the recipe, the data or the arguments are wrong
    |   +-- RecipeError                the recipe file (may carry several faults)
    |   +-- DataError                  a data file, a column, a row, a split
    |   +-- ModelError                 a base model, an adapter, a tokenizer
    |   +-- RunFolderError             a run folder: another run's, incomplete, damaged
    |   +-- ArgumentError              a command-line argument or a Python argument
    |   +-- RefusedConnection          another machine was to be reached under `privacy: strict`
    +-- TrainingError              1   training cannot go on (loss is not finite)
    +-- InterruptedRun             4   stopped from outside; `--resume` continues
    |   +-- ProcessLost                another process of the same run ended without a word
    +-- OtherProcessFailed         *   another process of the same run failed; its exit code
    +-- LackingEnvironment         5   the machine lacks something
        +-- MissingPackage             an optional package; the message has the install line
        +-- DiskFull                   no space while saving; nothing is left half-written
        +-- DownloadFailed             a packaged model could not be fetched
        +-- OutOfMemory                a plan or a run needs more memory than there is

Exit code 3 (a gate failed) is a result, not an exception: see `metier.run.RunResult`.

To add one: subclass the group whose exit code fits, say in the docstring when it is raised, and
test the message's text.
"""

from __future__ import annotations

DONE = 0
GATE_FAILED = 3


class MetierError(Exception):
    """A fault with a place, what was found there, what was wanted, and what to do about it."""

    exit_code: int = 1

    def __init__(self, where: str, found: str, wanted: str = "", fix: str = "") -> None:
        """Build the message from its four parts.

        Args:
            where: The place: a recipe path (`training.learning_rate`), a file, a row number.
            found: What is there. Never personal data: row numbers instead of text.
            wanted: What would be right; empty when `found` says it all.
            fix: One sentence in the imperative.
        """
        self.where, self.found, self.wanted, self.fix = where, found, wanted, fix
        super().__init__(self.text())

    def text(self) -> str:
        """The message as one line: `where: found …, wanted …. fix`."""
        middle = f"{self.found}, wanted {self.wanted}" if self.wanted else self.found
        sentence = f"{self.where}: {middle}".rstrip(".") + "."
        return f"{sentence} {self.fix}".strip()


class UserError(MetierError):
    """The recipe, the data or the arguments are wrong."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that cannot be used. `faults` holds every fault found, each a `MetierError`."""

    def __init__(
        self, where: str, found: str, wanted: str = "", fix: str = "", faults: tuple[MetierError, ...] = ()
    ) -> None:
        """As `MetierError`, plus all faults of the recipe so that they are reported together."""
        self.faults = faults
        super().__init__(where, found, wanted, fix)

    def text(self) -> str:
        """The summary line, then one line for each fault."""
        lines = [super().text(), *(f"  - {fault}" for fault in self.faults)]
        return "\n".join(lines)


class DataError(UserError):
    """A data file, a column, a row or a split cannot be used."""


class ModelError(UserError):
    """A base model, an adapter or a tokenizer cannot be used."""


class RunFolderError(UserError):
    """A run folder holds another run, is incomplete, or is damaged."""


class ArgumentError(UserError):
    """A command-line argument or a Python argument is wrong."""


class RefusedConnection(UserError, PermissionError):
    """A connection to another machine under `privacy: strict`.

    Also a `PermissionError`, so that a library that copes with a network that is not there copes with this.
    """


class TrainingError(MetierError):
    """Training cannot go on: the loss or the gradient is not finite."""


class InterruptedRun(MetierError):
    """Stopped from outside; the run folder is consistent and `--resume` continues."""

    exit_code = 4


class ProcessLost(InterruptedRun):
    """Another process of the same run ended without a word, was killed, or does not answer."""


class OtherProcessFailed(MetierError):
    """Another process of the same run failed and said why; this one ends with the same exit code."""

    def __init__(self, where: str, found: str, *, exit_code: int) -> None:
        """As `MetierError`, with the exit code of the process that failed."""
        self.exit_code = exit_code
        super().__init__(where, found)


class LackingEnvironment(MetierError):
    """The machine lacks something: a package, memory, disk space, an accelerator."""

    exit_code = 5


class MissingPackage(LackingEnvironment):
    """An optional package is not installed; the message has the install line."""


class DiskFull(LackingEnvironment):
    """No space was left while saving; nothing is left half-written."""


class DownloadFailed(LackingEnvironment):
    """A packaged model could not be fetched, or its hash is not the expected one."""


class OutOfMemory(LackingEnvironment):
    """A plan or a run needs more memory than the machine has."""
