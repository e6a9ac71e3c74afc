# The final policy, over more episodes than during training, with videos.
rule evaluate:
    input:
        config=rules.train.output.config,
        policy=rules.train.output.policy,
    output:
        evaluations=f"results/runs/{RUN}/final_evaluations.csv",
        videos=directory(f"results/runs/{RUN}/videos"),
    log:
        f"logs/evaluate/{RUN}.log",
    benchmark:
        f"logs/evaluate/{RUN}.tsv"
    wildcard_constraints:
        benchmark="(?!)",
    threads: lambda wildcards: settings_of(wildcards).threads
    resources:
        **TO_EVALUATE,
    params:
        episodes=lambda wildcards: final_evaluation_of(wildcards).episodes,
        videos=lambda wildcards: final_evaluation_of(wildcards).videos,
    shell:
        'exec python -m agent.evaluate --run-dir "$(dirname {input.config:q})"'
        " --episodes {params.episodes} --videos {params.videos} > {log:q} 2>&1"
