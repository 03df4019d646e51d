"""The web page of `speakerlab demo`: compare, enrol and identify recordings with one model.

`answers` knows the model and makes HTML, `layout` puts it on a Gradio page, `server` runs that, and `guard` and
`uploads` hold what comes from a browser to `limits`.
"""
