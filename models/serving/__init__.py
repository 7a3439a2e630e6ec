"""Our own SageMaker container: `serve` answers real-time and batch requests, `train` makes a bundle.

container.py   what SageMaker gives a container: folders, environment variables
formats.py     content types in, instances; scores, content types out
scorer.py      instances to scores: values one by one, readings as streams
application.py the HTTP interface, without a server
server.py      `serve`
training.py    `train`
"""
