"""The lab: measuring samplers on a model, and fitting one to it. Pure torch and numpy; the host is in `nodes/`."""
