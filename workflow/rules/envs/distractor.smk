use rule train as train_distractor with:
    wildcard_constraints:
        benchmark="distractor",
    container:
        image("distractor")
    resources:
        **needs(mem_mb=2000),


use rule evaluate as evaluate_distractor with:
    wildcard_constraints:
        benchmark="distractor",
    container:
        image("distractor")
    resources:
        **needs(mem_mb=2000),
