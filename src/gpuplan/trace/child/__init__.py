"""The stand-alone tracer that runs in the user's environment (Python 3.9+, torch 2.4+). It never imports gpuplan.

Started by path, `python .../trace/child REQUEST`. Tensors are `meta`: they have shapes but no memory, so that a model
of any size is built and trained in seconds. A function mode makes them look and behave like those of a GPU, a dispatch
mode follows each storage from the operator that makes it until the last reference is gone.
"""
