"""Programs that are measured as processes of their own: arguments in, one line of JSON out.

They are run by path, so that those without lossbench do not import it.
"""
