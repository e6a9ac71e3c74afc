# What is left to run and what it costs, said before anything is submitted.
localrules:
    plan,


rule plan:
    log:
        "logs/plan.log",
    # On the host: it asks Snakemake, which no image has.
    container:
        lambda wildcards: None
    params:
        files=CONFIG_FILES or [str(ROOT / "config/quickstart.yaml")],
    shell:
        "python -m workflow.scripts.plan --configfile {params.files:q} 2>&1 | tee {log:q}"
