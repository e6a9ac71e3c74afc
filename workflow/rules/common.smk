# What all rules share. Here: where things are, which experiments there are, and the settings of each run.
import ast
import os
import sys
from functools import cache
from shlex import quote

from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import DeploymentMethod

sys.path.insert(0, str(ROOT))

from agent import preflight
from agent.config import resolve
from agent.stopping import this_process
from analysis import experiments, published, score_rules
from analysis.errors import InputError
from envs.errors import UserError, unknown

# On the host, jobs use the Python that runs Snakemake; an image has its own PATH.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    PYTHONPATH=str(ROOT),
    # Jobs end with Snakemake even when that is killed: an orphan would hold its run.
    SUITE_WORKFLOW=this_process(),
)


def stop(message):
    """End as a user's mistake ends: with a message, and without where in the code it was noticed."""
    sys.exit(f"error: {message}")


IN_CONTAINERS = (
    DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
)
if IN_CONTAINERS:
    from containers import runtime

    try:
        os.environ.update(runtime.environment(ROOT, Path.cwd()))
    except UserError as error:
        stop(error)


CONFIG_FILES = [os.path.relpath(path) for path in workflow.overwrite_configfiles]
# Targets may follow it: a target right after --configfile would be taken for another file.
COMMAND = " ".join(
    [
        "snakemake",
        *(f"--configfile {quote(path)}" for path in CONFIG_FILES),
        "--cores all",
    ]
)
CONFIG_FILE = " ".join(CONFIG_FILES) or "config/quickstart.yaml"
ENVIRONMENT_RULES = sorted((ROOT / "workflow" / "rules" / "envs").glob("*.smk"))
BENCHMARKS = [path.stem for path in ENVIRONMENT_RULES]
# What scores and figures depend on besides the runs.
REFERENCES = [
    str(ROOT / "analysis" / "score_rules.yaml"),
    str(ROOT / "results" / "published" / "reference_scores.csv"),
    *sorted(map(str, (ROOT / "results" / "published").glob("*_curves.csv"))),
]
RUN_FILES = [
    "config.yaml",
    "metrics.jsonl",
    "evaluations.csv",
    "provenance.json",
    "policy.safetensors",
    "final_evaluations.csv",
    "videos",
]
RUN = "{benchmark}/{task}/{method}/{variant}/seed_{seed}"
# A run takes one GPU where the limit `gpu`, which the profile finds, leaves any.
GPUS = workflow.global_resources.get("gpu")
GPUS_PER_RUN = 1 if GPUS is not None and GPUS.value else 0


def image(name):
    """The image of a benchmark or of the analysis: looked for when a job needs it and containers are to be used."""
    return lambda wildcards: found_image(name) if IN_CONTAINERS else None


@cache
def found_image(name):
    try:
        if warning := runtime.advice(name):
            logger.warning(warning)
        return runtime.address(name)
    except UserError as error:
        stop(error)


@cache
def settings(benchmark, task, method, variant):
    """The resolved settings of a run; UserError names what does not exist."""
    if benchmark not in BENCHMARKS:
        raise unknown("benchmark", benchmark, BENCHMARKS, "workflow/rules/envs")
    return resolve(benchmark, task, method, variant)


def settings_of(wildcards):
    return settings(
        wildcards.benchmark, wildcards.task, wildcards.method, wildcards.variant
    )


def problem_of(experiment):
    """What stops the experiment: the name of something that does not exist, or None."""
    try:
        if score_rules.get(experiment.score_rule).normaliser == "human":
            published.human_reference(experiment.benchmark, list(experiment.tasks))
        for run in experiment.runs():
            settings(run.benchmark, run.task, run.method, run.variant)
    except (UserError, InputError) as error:
        return f"{CONFIG_FILE}: experiments.{experiment.name}: {error}"


def results_trouble():
    """Why nothing can be written to the results, found before hours of work are lost to it; or None."""
    there = [
        path
        for path in (Path("results/runs"), Path("results"), Path.cwd())
        if path.exists()
    ]
    for path in there:
        if not os.access(path, os.W_OK):
            return f"{path.resolve()} cannot be written: make it writable, or work elsewhere with --directory"
    disk = os.statvfs(there[0])
    if disk.f_bavail * disk.f_frsize < 16 * 2**20:
        return f"{there[0].resolve()} is on a full disk, less than 16 MiB are free: make room and run again"


try:
    ALL_EXPERIMENTS = experiments.load(config, CONFIG_FILE)
except InputError as error:
    stop(error)

if trouble := results_trouble():
    stop(trouble)

REFUSED = {
    name: problem for name, e in ALL_EXPERIMENTS.items() if (problem := problem_of(e))
}
EXPERIMENTS = {name: e for name, e in ALL_EXPERIMENTS.items() if name not in REFUSED}
for name, problem in REFUSED.items():
    # What is planned may wait, unless it was asked for by name.
    if not ALL_EXPERIMENTS[name].planned or name in sys.argv:
        stop(problem)
    logger.warning(f"Left out, because it is only planned: {problem}")


FINAL_EVALUATIONS = {run.directory: e for e in EXPERIMENTS.values() for run in e.runs()}


wildcard_constraints:
    benchmark="[a-z0-9_]+",
    task="[a-z0-9_]+",
    method="[a-z0-9_]+",
    variant="[a-z0-9_]+",
    seed="[0-9]+",
    experiment="|".join(EXPERIMENTS) or "(?!)",


@cache
def estimate(benchmark, task, method, variant):
    """What training the run needs of disk and memory."""
    return preflight.estimate(
        settings(benchmark, task, method, variant), "cuda" if GPUS_PER_RUN else "cpu"
    )


def estimate_of(wildcards):
    return estimate(
        wildcards.benchmark, wildcards.task, wildcards.method, wildcards.variant
    )


def needs(mem_mb, disk_mb):
    """Resources of training or evaluating one run: memory and disk in MB, a GPU, and which try of the job this is."""
    return {
        "mem_mb": mem_mb,
        "disk_mb": disk_mb,
        "gpu": GPUS_PER_RUN,
        "attempt": lambda wildcards, attempt: attempt,
    }


TO_TRAIN = needs(
    mem_mb=lambda wildcards: estimate_of(wildcards).memory_mb,
    disk_mb=lambda wildcards: estimate_of(wildcards).disk_mb,
)
# Acting takes one simulator, and no gradients.
TO_EVALUATE = needs(
    mem_mb=lambda wildcards: estimate_of(wildcards).evaluation_memory_mb,
    disk_mb=100,
)


def final_evaluation_of(wildcards):
    """The experiment that says how the run's final policy is evaluated."""
    return FINAL_EVALUATIONS[f"runs/{RUN}".format(**wildcards)]


def run_files(experiment):
    return [
        f"results/{run.directory}/{name}"
        for run in experiment.runs()
        for name in RUN_FILES
    ]


def products(experiment):
    """Everything that an experiment is there for: its figures and its table."""
    kinds = [
        "",
        *(["_profile"] if len(experiment.tasks) > 1 else []),
        *(["_coefficients"] if harmonised(experiment) else []),
    ]
    figures = [
        f"results/figures/{experiment.name}{kind}.{suffix}"
        for kind in kinds
        for suffix in ("png", "svg")
    ]
    return figures + [
        f"results/tables/{experiment.name}.{suffix}" for suffix in ("csv", "md", "tex")
    ]


def harmonised(experiment):
    """Whether any method of the experiment harmonises losses, so that there are coefficients to show."""
    names = {
        (run.benchmark, run.task, run.method, run.variant) for run in experiment.runs()
    }
    return any(settings(*name).world_model.harmonizer.losses for name in names)


def modules(name):
    """The files of analysis.<name> and of every analysis module that it imports, near or far."""
    paths = sorted(imported(name))
    inside = Path.cwd()
    return [
        str(path.relative_to(inside) if path.is_relative_to(inside) else path)
        for path in paths
    ]


@cache
def imported(name):
    path = ROOT / "analysis" / f"{name}.py"
    found = {path}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "analysis":
            found.update(*(imported(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "analysis."
        ):
            found |= imported(node.module.removeprefix("analysis."))
    return found
