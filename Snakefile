include: "workflow/Snakefile"


# A target rule of an included file is no default, so the default is said here.
rule default:
    default_target: True
    input:
        rules.all.input,
