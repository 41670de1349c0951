"""Training rows by rule, from rows that others have published: nothing is written by a model.

They teach what rerankers overlook: a changed fact (`minimal_pairs`), a rare entity (`entities`), and what is not wanted
(`exclusions`); and they make queries of other lengths and topics out of passages (`excerpts`). Text changes only by
rule, so the license of each row's source holds for what is made from it; texts under CC BY-SA stay under it.
"""
