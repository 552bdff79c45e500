"""Pictures and tables of the textbook chapters: each file measures one thing, puts it in a table and draws it.

Plain values, arrays and torch modules come in, text and matplotlib figures go out. matplotlib is imported when the
first picture is drawn, not with these modules.
"""
