"""The lab measures samplers on a model and fits a solver to it, with only torch and numpy; `nodes/` connects ComfyUI."""
