"""Sources of logs whose truth is known for every candidate."""
