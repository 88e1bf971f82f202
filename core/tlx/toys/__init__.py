"""One small and correct plugin of each kind.

``tlx plugins new`` makes a package of them under another name, and the tests of the conformance kit
break them in every way that it must notice. They are no plugins of tlx itself.
"""
