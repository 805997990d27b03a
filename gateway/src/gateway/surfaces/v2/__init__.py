"""The Open Inference Protocol (KServe v2) over REST, with its binary tensor extension.

`request` reads an inference request, `forms` turns its tensors into the input of a job and the result of the job into
tensors, and `response` writes them. Every request is a job. docs/open-inference-protocol.md describes it for users.
"""
