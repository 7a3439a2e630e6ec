"""A local `sagemaker` and `sagemaker-runtime`: the emulator has neither. Models, endpoints, batch transform and
training jobs, whose containers are our own entry points (`models.serving`), run for real as processes of this machine.

    wire.py        AWS' two protocols over HTTP, and its errors
    validation.py  parameters against botocore's service model, refused in AWS' words
    resources.py   models, endpoint configurations, endpoints, jobs: kept in a file
    artefacts.py   model archives and data, from and to the emulated S3
    containers.py  `serve` and `train` as processes
    endpoints.py   the operations on models, configurations and endpoints
    jobs.py        what the two kinds of jobs share; transform.py, training.py: each kind
    process.py     how it is started beside a region, and how clients find it
    __main__.py    python -m localcloud.sagemaker

Reached as AWS is: AWS_ENDPOINT_URL_SAGEMAKER and AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME, or a profile's `services`.
What is not supported here is refused by name; nothing is accepted and then ignored that would change a result.
"""
