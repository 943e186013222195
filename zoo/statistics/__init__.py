"""From numbers to verdicts. Nothing here knows what a run or a study is."""
