"""What the reports derive on paper, as functions that can be checked.

It needs torch, numpy, scipy and annotated_types, and of dlbench only `dlbench.seeding`.
"""
