"""Which tests of the suites need claimed commands only: a generated file, and what a run says beside it.

A test is *claimed* when it passes on Redis itself while everything that is not claimed is refused. Otherwise it *needs* the
commands that were refused; a test that fails without a refusal lives on what one that was left out does: it needs ``state``.
Tests that do not pass on Redis itself are not in the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("verdicts.json")
CLAIMED, STATE = "claimed", "state"
_REASON_CHARACTERS_MAX = 400


@dataclass(frozen=True)
class Outcome:
    """How a test ended: ``passed``, ``failed`` or ``skipped``, and why."""

    group: str
    test: str
    result: str
    reason: str = ""
    refused: tuple[str, ...] = ()


def judged(plain: Sequence[Outcome], refusing: Sequence[Outcome]) -> dict[str, dict[str, str]]:
    """Verdicts by group and test, from a run on Redis and one in which what is not claimed was refused."""
    there = {(outcome.group, outcome.test) for outcome in plain if outcome.result == "passed"}
    again = {(outcome.group, outcome.test): outcome for outcome in refusing}
    verdicts: dict[str, dict[str, str]] = {}
    for group, test in sorted(there):
        outcome = again.get((group, test), Outcome(group, test, "failed"))
        needs = " ".join(sorted(name.replace(" ", "-") for name in outcome.refused)) or STATE
        verdicts.setdefault(group, {})[test] = CLAIMED if outcome.result == "passed" else needs
    return verdicts


def left_out(verdicts: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """The tests of each group that are not claimed."""
    return {group: [test for test, verdict in tests.items() if verdict != CLAIMED] for group, tests in verdicts.items()}


def load(suite: str) -> dict[str, dict[str, str]]:
    """Verdicts by group and test."""
    if not FILE.exists():
        return {}
    verdicts: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8")).get(suite, {})
    return verdicts


def save(suite: str, verdicts: Mapping[str, Mapping[str, str]]) -> None:
    """Replace those of a suite."""
    whole = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    whole[suite] = verdicts
    FILE.write_text(json.dumps(dict(sorted(whole.items())), indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def tell_verdicts(verdicts: Mapping[str, Mapping[str, str]]) -> None:
    """Print how many tests of each group are claimed, and which commands the others need most."""
    for group, tests in verdicts.items():
        claimed = sum(verdict == CLAIMED for verdict in tests.values())
        print(f"{group}: {len(tests)} pass on Redis, {claimed} of them with claimed commands only")
    others = [verdict for tests in verdicts.values() for verdict in tests.values() if verdict != CLAIMED]
    needs = Counter(name for verdict in others for name in verdict.split())
    print("the others need: " + ", ".join(f"{name} {count}" for name, count in needs.most_common(20)))


def tell_run(verdicts: Mapping[str, Mapping[str, str]], outcomes: Sequence[Outcome]) -> bool:
    """Print what a run says of each group, and each claimed test that did not pass; whether there is none."""
    found = {(outcome.group, outcome.test): outcome for outcome in outcomes}
    total = passed_total = 0
    for group, tests in verdicts.items():
        claimed = [test for test, verdict in tests.items() if verdict == CLAIMED]
        passed = [test for test in claimed if (group, test) in found and found[group, test].result == "passed"]
        others = sum(outcome.group == group and outcome.result == "passed" for outcome in outcomes) - len(passed)
        total, passed_total = total + len(claimed), passed_total + len(passed)
        print(f"{group}: {len(passed)} of {len(claimed)} claimed pass; {others} others; {len(tests)} on Redis")
        for test in claimed:
            if test not in passed:
                outcome = found.get((group, test), Outcome(group, test, "did not run"))
                print(f"  {outcome.result}: {test}\n      {_short(outcome.reason)}")
    share = f" ({passed_total / total:.1%})" if total else ""
    print(f"claimed tests: {passed_total} of {total} pass{share}")
    return passed_total == total


def _short(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _REASON_CHARACTERS_MAX else text[:_REASON_CHARACTERS_MAX] + " …"
