"""From evaluations to scores, intervals, verdicts, tables and figures; reads only files, never imports the agent."""
