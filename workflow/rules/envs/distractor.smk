use rule train as train_distractor with:
    wildcard_constraints:
        benchmark="distractor",
    container:
        image("distractor")
    resources:
        **TO_TRAIN,


use rule evaluate as evaluate_distractor with:
    wildcard_constraints:
        benchmark="distractor",
    container:
        image("distractor")
    resources:
        **TO_EVALUATE,
