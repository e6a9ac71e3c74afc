# A finished run is precious: it has no inputs, and its one parameter is the digest of its resolved settings, so that
# neither code, nor configuration files, nor containers ever make Snakemake train it again.
rule train:
    output:
        config=f"results/runs/{RUN}/config.yaml",
        metrics=f"results/runs/{RUN}/metrics.jsonl",
        evaluations=f"results/runs/{RUN}/evaluations.csv",
        provenance=f"results/runs/{RUN}/provenance.json",
        policy=f"results/runs/{RUN}/policy.safetensors",
    log:
        f"logs/train/{RUN}.log",
    benchmark:
        f"logs/train/{RUN}.tsv"
    # Matches nothing: the rules of workflow/rules/envs inherit it, one for each benchmark.
    wildcard_constraints:
        benchmark="(?!)",
    retries: 2
    threads: lambda wildcards: settings_of(wildcards).threads
    resources:
        **TO_TRAIN,
    params:
        digest=lambda wildcards: settings_of(wildcards).digest,
    shell:
        "exec python -m agent.train --benchmark {wildcards.benchmark:q} --task {wildcards.task:q}"
        " --method {wildcards.method:q} --variant {wildcards.variant:q} --seed {wildcards.seed:q}"
        ' --run-dir "$(dirname {output.config:q})" --attempt {resources.attempt} > {log:q} 2>&1'
