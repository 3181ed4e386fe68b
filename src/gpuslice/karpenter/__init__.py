"""What Karpenter does with pods and pools: a model of v1.14.1 and of its AWS provider v1.14.1, decision by decision.

Pure: plain data in, decisions out. The rules were read in the sources of these versions; where a rule here differs
from the real Karpenter, the rule is wrong.
"""
