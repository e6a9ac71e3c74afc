"""One experiment against the numbers of one claim: a row for each quantity, or for the reason not to compare."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from analysis import claims, collected, score_rules, scores, verdicts
from analysis.claims import Claim
from analysis.collected import ALL_TASKS, Collected
from analysis.errors import InputError
from analysis.score_rules import ScoreRule
from analysis.scores import Floats
from analysis.verdicts import Statistic, Verdict

FAULT_WORDS = {
    "skipped_updates": "skipped updates", "env_restarts": "environment restarts", "inexact_resumes": "inexact resumes",
}  # fmt: skip
AGGREGATES = {name: statistic for name, statistic in scores.STATISTICS.items() if name != "optimality_gap"}

Matrices = dict[str, pd.DataFrame]  # by method: runs x tasks


@dataclass(frozen=True)
class Row:
    """One line of the table of verdicts; those without a comparison have a `reason` and no numbers."""

    claim: str = ""
    experiment: str = ""
    benchmark: str = ""
    task: str = ""
    method: str = ""
    quantity: str = ""  # score, or an aggregate over tasks; with "gain in" the difference between two methods
    score_rule: str = ""
    unit: str = ""
    ours: float | None = None
    ours_low: float | None = None
    ours_high: float | None = None
    runs: int | None = None  # ours, per task
    skipped_updates: int | None = None  # of all our runs in the comparison, as the next two
    env_restarts: int | None = None
    inexact_resumes: int | None = None
    published: float | None = None
    published_low: float | None = None
    published_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    margin: float | None = None
    verdict: str = ""
    direction: str = ""
    further_seeds: int | None = None
    deviations: str = ""
    reason: str = ""
    source: str = ""
    where: str = ""
    confidence: str = ""


def compare(claim: Claim, experiment: Collected, unavoidable: str | None) -> Iterator[Row]:
    """The rows of an experiment for every number of a claim; none where it lacks the number's methods.

    `unavoidable` is the deviation that every run of the benchmark has.
    """
    for number in claim.published:
        methods = _methods(number, experiment)
        if not methods:
            continue
        rule = score_rules.get(number["score_rule"])
        template = Row(
            claim=claim.id, experiment=experiment.name, benchmark=claim.benchmark, method=", ".join(methods),
            score_rule=rule.name, unit=rule.unit, margin=rule.margin,
            **{key: number[key] for key in ("source", "where", "confidence")},
        )  # fmt: skip
        try:
            evaluations = experiment.table("evaluations")
            evaluations = evaluations[evaluations["method"].isin(methods)]
            runs = experiment.table("provenance")
            runs = runs[runs["method"].isin(methods)]
            refuse_unlike(claim, runs, evaluations)
            deviations = "; ".join(_deviations(claim, experiment, runs, evaluations, unavoidable))
            ours = _matrices(evaluations, rule, experiment.benchmark, experiment.tasks, methods)
            template = replace(template, deviations=deviations)
            for found in COMPARISONS[number["kind"]](claim, number, rule, ours):
                yield replace(_row(template, *found), **_faults(runs, *found[:2]))
        except InputError as error:
            yield replace(template, verdict="refused", reason=str(error))


def refuse_unlike(claim: Claim, runs: pd.DataFrame, evaluations: pd.DataFrame) -> None:
    """InputError if runs of unlike presets or budgets, or of another budget than the paper's, would share a cell."""
    for (task, method), cell in runs.groupby(["task", "method"]):
        if cell["config_digest"].nunique() > 1:
            raise InputError(
                f"{task}, {method}: its runs have unlike settings (config digests): train them again alike"
            )
    budgets = evaluations.groupby(["task", "method", "seed"])["env_frame"].max()
    if budgets.nunique() > 1:
        raise InputError(f"unlike budgets: runs end between {budgets.min():,} and {budgets.max():,} env frames")
    paper = claim.protocol["env_frames"]
    if not score_rules.same_budget(budgets.iloc[0], paper):
        raise InputError(f"unlike budgets: {budgets.iloc[0]:,} env frames, the published number is at {paper:,}")


def _methods(number: dict[str, Any], experiment: Collected) -> list[str]:
    """The experiment's methods that the number is about; empty unless it has all that the number needs."""
    if number["kind"] == "runs":
        known = set(claims.authors_runs(number)["method"])
        return [method for method in experiment.methods if method in known]
    needed = [number[key] for key in ("method", "base") if key in number]
    return needed if set(needed) <= set(experiment.methods) else []


def _deviations(
    claim: Claim, experiment: Collected, runs: pd.DataFrame, evaluations: pd.DataFrame, unavoidable: str | None
) -> Iterator[str]:
    """Everything known in which our runs differ from the paper's."""
    if claim.code_base == "jax":
        yield "PyTorch port of a result of JAX code"
    if unavoidable:
        yield unavoidable
    if experiment.variant != "paper":
        yield f"variant {experiment.variant}"
    yield from collected.deviations(runs)
    episodes = evaluations.groupby(["task", "method", "seed", "env_frame"]).size().unique()
    if set(episodes) != {claim.protocol["episodes"]}:
        counts = ", ".join(map(str, sorted(episodes)))
        yield f"episodes per evaluation: {counts}, the paper has {claim.protocol['episodes']}"
    for name, count in collected.faults(runs).items():
        if count:
            yield f"{count} {FAULT_WORDS[name]}"
    if runs["code_revision"].nunique() > 1:
        yield f"{runs['code_revision'].nunique()} code revisions"
    if runs["code_revision"].astype(str).str.endswith("-dirty").any():
        yield "uncommitted changes in the code"


def _faults(runs: pd.DataFrame, methods: str, task: str) -> dict[str, Any]:
    """What the runs behind one row suffered."""
    its = runs[runs["method"].isin(methods.split(" - "))]
    return collected.faults(its if task == ALL_TASKS else its[its["task"] == task])


def _matrices(
    evaluations: pd.DataFrame, rule: ScoreRule, benchmark: str, tasks: list[str], methods: list[str]
) -> Matrices:
    return {
        method: score_rules.score_matrix(evaluations[evaluations["method"] == method], rule, benchmark, tasks)
        for method in methods
    }


Found = tuple[str, str, str, Verdict]  # method, task, quantity, and what was found


def _against_runs(claim: Claim, number: dict[str, Any], rule: ScoreRule, ours: Matrices) -> Iterator[Found]:
    """Every task of every method; before them aggregates and gains, where our tasks are all of the published ones."""
    tasks = _tasks(ours)
    curves = claims.authors_runs(number)
    theirs = _matrices(curves[curves["task"].isin(tasks)], rule, claim.benchmark, tasks, list(ours))

    def judged(methods: list[str], chosen: list[str], statistic: Statistic) -> Verdict:
        its, authors = (tuple(m[method][chosen].to_numpy() for method in methods) for m in (ours, theirs))
        return verdicts.against_runs(its, authors, statistic, rule.margin)

    if len(tasks) == claim.protocol["tasks"]:
        for name, statistic in AGGREGATES.items():
            for method in ours:
                yield method, ALL_TASKS, name, judged([method], tasks, statistic)
            for pair in _harmony_and_base(ours):
                yield " - ".join(pair), ALL_TASKS, f"gain in {name}", judged(pair, tasks, partial(_gain, statistic))
    for method in ours:
        for task in tasks:
            yield method, task, "score", judged([method], [task], scores.mean)


def _against_value(claim: Claim, number: dict[str, Any], rule: ScoreRule, ours: Matrices) -> Iterator[Found]:
    matrix = ours[number["method"]]
    if len(matrix.columns) != claim.protocol["tasks"]:
        raise InputError(f"{len(matrix.columns)} of {claim.protocol['tasks']} tasks: no aggregate to compare")
    statistic = scores.STATISTICS[number["metric"]]
    value = number["value"]
    verdict = verdicts.against_range((matrix.to_numpy(),), value, value, statistic, rule.margin)
    yield number["method"], ALL_TASKS, number["metric"], verdict


def _against_gain(claim: Claim, number: dict[str, Any], rule: ScoreRule, ours: Matrices) -> Iterator[Found]:
    pair = number["method"], number["base"]
    for task in _tasks(ours):
        matrices = tuple(ours[method][[task]].to_numpy() for method in pair)
        gain = partial(_gain, scores.mean)
        verdict = verdicts.against_range(matrices, number["low"], number["high"], gain, rule.margin)
        yield " - ".join(pair), task, f"gain in {number['low']} to {number['high']}", verdict


COMPARISONS = {"runs": _against_runs, "value": _against_value, "gain": _against_gain}


def _tasks(ours: Matrices) -> list[str]:
    return [str(task) for task in next(iter(ours.values())).columns]


def _gain(statistic: Statistic, better: Floats, base: Floats) -> Floats:
    return statistic(better) - statistic(base)


def _harmony_and_base(ours: Matrices) -> list[list[str]]:
    return [[f"harmony_{method}", method] for method in ours if f"harmony_{method}" in ours]


def _row(template: Row, method: str, task: str, quantity: str, found: Verdict) -> Row:
    intervals = {
        key: value
        for name in ("ours", "published", "difference")
        for key, value in zip((name, f"{name}_low", f"{name}_high"), astuple(getattr(found, name)), strict=True)
    }
    return replace(
        template, method=method, task=task, quantity=quantity, runs=found.runs, verdict=found.verdict,
        direction=found.direction, further_seeds=found.further_seeds, reason=found.reason, **intervals,
    )  # fmt: skip
