"""Built-in trainers. Each imports from gpuplan only what any program may: `gpuplan.track`."""
