"""From logs to tables: formats, joins, worlds whose truth is known, what a learner can take."""
