"""How good the tasks' defaults are, beside baselines and peers on the same data and tokens."""
