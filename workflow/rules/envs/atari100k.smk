use rule train as train_atari100k with:
    wildcard_constraints:
        benchmark="atari100k",
    container:
        image("atari100k")
    resources:
        **TO_TRAIN,


use rule evaluate as evaluate_atari100k with:
    wildcard_constraints:
        benchmark="atari100k",
    container:
        image("atari100k")
    resources:
        **TO_EVALUATE,
