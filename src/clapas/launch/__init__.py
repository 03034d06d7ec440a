"""Where and how a run starts: checks before it is queued. (Sites and sbatch have an issue of their own.)"""
