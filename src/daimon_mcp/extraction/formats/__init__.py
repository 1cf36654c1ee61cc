"""One module for each format. Each has `read(content, sink, charset)`: write the text of `content` to the Sink.

`charset` is what the content type said, or None. They run in the child alone and may raise anything: the child answers
with a status. Heavy imports are on top of the module, which is loaded when its first file comes.
"""
