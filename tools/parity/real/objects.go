package main

import (
	"fmt"
	"strconv"
	"time"

	awsv1 "github.com/aws/karpenter-provider-aws/pkg/apis/v1"
	"github.com/samber/lo"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/apis/v1alpha1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/scheduling"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func quantities(written map[string]string) corev1.ResourceList {
	return lo.MapEntries(written, func(key, value string) (corev1.ResourceName, resource.Quantity) {
		return corev1.ResourceName(key), resource.MustParse(value)
	})
}

func taints(listed []Taint) []corev1.Taint {
	return lo.Map(listed, func(t Taint, _ int) corev1.Taint {
		return corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)}
	})
}

func poolRequirements(listed []Requirement) []v1.NodeSelectorRequirementWithMinValues {
	return lo.Map(listed, func(r Requirement, _ int) v1.NodeSelectorRequirementWithMinValues {
		return v1.NodeSelectorRequirementWithMinValues{
			Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values, MinValues: r.MinValues,
		}
	})
}

func selectorRequirements(listed []Requirement) []corev1.NodeSelectorRequirement {
	return lo.Map(listed, func(r Requirement, _ int) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{
			Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values,
		}
	})
}

func instanceType(it InstanceType) *cloudprovider.InstanceType {
	zones := lo.Uniq(lo.Map(it.Offerings, func(o Offering, _ int) string { return o.Zone }))
	capacityTypes := lo.Uniq(lo.Map(it.Offerings, func(o Offering, _ int) string { return o.CapacityType }))
	requirements := scheduling.NewRequirements(
		scheduling.NewRequirement(corev1.LabelInstanceTypeStable, corev1.NodeSelectorOpIn, it.Name),
		scheduling.NewRequirement(corev1.LabelTopologyZone, corev1.NodeSelectorOpIn, zones...),
		scheduling.NewRequirement(v1.CapacityTypeLabelKey, corev1.NodeSelectorOpIn, capacityTypes...),
	)
	for _, r := range it.Labels {
		requirements.Add(scheduling.NewRequirement(r.Key, corev1.NodeSelectorOperator(r.Operator), r.Values...))
	}
	return &cloudprovider.InstanceType{
		Name:         it.Name,
		Requirements: requirements,
		Capacity:     quantities(it.Capacity),
		Overhead:     &cloudprovider.InstanceTypeOverhead{KubeReserved: quantities(it.Overhead)},
		Offerings: lo.Map(it.Offerings, func(o Offering, _ int) *cloudprovider.Offering {
			return &cloudprovider.Offering{
				Requirements: scheduling.NewLabelRequirements(map[string]string{
					v1.CapacityTypeLabelKey: o.CapacityType, corev1.LabelTopologyZone: o.Zone,
				}),
				Price: o.Price, Available: o.Available,
			}
		}),
	}
}

func nodePool(p Pool) *v1.NodePool {
	after := v1.NillableDuration{}
	if p.ConsolidateAfter != nil {
		after.Duration = lo.ToPtr(time.Duration(*p.ConsolidateAfter * float64(time.Second)))
	}
	made := &v1.NodePool{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, UID: types.UID(p.Name)},
		Spec: v1.NodePoolSpec{
			Weight: lo.Ternary(p.Weight > 0, &p.Weight, nil),
			Limits: v1.Limits(quantities(p.Limits)),
			Template: v1.NodeClaimTemplate{
				ObjectMeta: v1.ObjectMeta{Labels: p.Labels},
				Spec: v1.NodeClaimTemplateSpec{
					Requirements: poolRequirements(p.Requirements),
					Taints:       taints(p.Taints),
					NodeClassRef: &v1.NodeClassReference{Group: "karpenter.k8s.aws", Kind: "EC2NodeClass", Name: "default"},
				},
			},
			Disruption: v1.Disruption{
				ConsolidationPolicy: v1.ConsolidationPolicy(p.Policy),
				ConsolidateAfter:    after,
				Budgets: lo.Map(p.Budgets, func(b Budget, _ int) v1.Budget {
					made := v1.Budget{Nodes: b.Nodes}
					for _, r := range b.Reasons { // no reasons must be nil: an empty list matches none
						made.Reasons = append(made.Reasons, v1.DisruptionReason(r))
					}
					return made
				}),
			},
		},
	}
	if len(p.Limits) == 0 {
		made.Spec.Limits = nil
	}
	made.StatusConditions().SetTrue(v1.ConditionTypeValidationSucceeded)
	made.StatusConditions().SetTrue(v1.ConditionTypeNodeClassReady)
	return made
}

func nodeOverlay(o Overlay) *v1alpha1.NodeOverlay {
	return &v1alpha1.NodeOverlay{
		ObjectMeta: metav1.ObjectMeta{Name: o.Name},
		Spec: v1alpha1.NodeOverlaySpec{
			Requirements: lo.Map(o.Requirements, func(r Requirement, _ int) v1alpha1.NodeSelectorRequirement {
				return v1alpha1.NodeSelectorRequirement{
					Key: r.Key, Operator: corev1.NodeSelectorOperator(r.Operator), Values: r.Values,
				}
			}),
			Capacity:        lo.Ternary(len(o.Capacity) > 0, quantities(o.Capacity), nil),
			Price:           lo.Ternary(o.Price != "", &o.Price, nil),
			PriceAdjustment: lo.Ternary(o.Adjustment != "", &o.Adjustment, nil),
			Weight:          lo.Ternary(o.Weight > 0, &o.Weight, nil),
		},
	}
}

func podSpec(c Class) corev1.PodSpec {
	spec := corev1.PodSpec{
		NodeSelector: c.Selector,
		Priority:     &c.Priority,
		Tolerations: lo.Map(c.Tolerations, func(t Toleration, _ int) corev1.Toleration {
			return corev1.Toleration{
				Key: t.Key, Operator: corev1.TolerationOperator(t.Operator), Value: t.Value,
				Effect: corev1.TaintEffect(t.Effect),
			}
		}),
		Containers: []corev1.Container{{
			Name: "main", Image: "none", Resources: corev1.ResourceRequirements{Requests: quantities(c.Requests)},
		}},
		TopologySpreadConstraints: lo.Map(c.Spreads, func(s Spread, _ int) corev1.TopologySpreadConstraint {
			return corev1.TopologySpreadConstraint{
				TopologyKey: s.Key, MaxSkew: s.MaxSkew, MinDomains: s.MinDomains,
				WhenUnsatisfiable: corev1.UnsatisfiableConstraintAction(s.Unsatisfiable),
				LabelSelector:     &metav1.LabelSelector{MatchLabels: s.Selector},
			}
		}),
	}
	affinity := &corev1.Affinity{}
	if len(c.Affinity)+len(c.Preferred) > 0 {
		affinity.NodeAffinity = &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: lo.Map(c.Preferred, func(p Preferred, _ int) corev1.PreferredSchedulingTerm {
				return corev1.PreferredSchedulingTerm{
					Weight:     p.Weight,
					Preference: corev1.NodeSelectorTerm{MatchExpressions: selectorRequirements(p.Requirements)},
				}
			}),
		}
	}
	if len(c.Affinity) > 0 {
		affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{
			NodeSelectorTerms: lo.Map(c.Affinity, func(term []Requirement, _ int) corev1.NodeSelectorTerm {
				return corev1.NodeSelectorTerm{MatchExpressions: selectorRequirements(term)}
			}),
		}
	}
	if len(c.Near) > 0 {
		affinity.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms(c.Near)}
	}
	if len(c.Apart) > 0 {
		affinity.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms(c.Apart)}
	}
	spec.Affinity = affinity
	return spec
}

func terms(listed []Term) []corev1.PodAffinityTerm {
	return lo.Map(listed, func(t Term, _ int) corev1.PodAffinityTerm {
		return corev1.PodAffinityTerm{TopologyKey: t.Key, LabelSelector: &metav1.LabelSelector{MatchLabels: t.Selector}}
	})
}

func podOf(c Class, p Pod, node string) *corev1.Pod {
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.UID, Namespace: "default", UID: types.UID(p.UID), Labels: c.Labels,
			CreationTimestamp: metav1.Time{Time: now.Add(-time.Hour + time.Duration(p.Created)*time.Second)},
			Annotations:       map[string]string{},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "rs", Controller: lo.ToPtr(true),
			}},
		},
		Spec:   podSpec(c),
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if c.DoNotDisrupt {
		made.Annotations[v1.DoNotDisruptAnnotationKey] = "true"
	}
	if c.DeletionCost != 0 {
		made.Annotations[corev1.PodDeletionCost] = strconv.Itoa(c.DeletionCost)
	}
	if node != "" {
		made.Spec.NodeName = node
		made.Status.Phase = corev1.PodRunning
		return made
	}
	made.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
	}}
	return made
}

func daemonSet(c Class) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Namespace: "default"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"daemon": c.Name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"daemon": c.Name}}, Spec: podSpec(c),
			},
		},
	}
}

func podBudget(b PodBudget, at int) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("budget-%d", at), Namespace: "default"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector:       &metav1.LabelSelector{MatchLabels: b.Selector},
			MaxUnavailable: lo.ToPtr(intstr.FromInt32(b.Allowed)),
		},
		Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: b.Allowed},
	}
}

// claimAndNode is a node of Karpenter's; without a Node where it has not come up yet.
func claimAndNode(n Node, classes []Class) (*v1.NodeClaim, *corev1.Node) {
	labels := lo.Assign(map[string]string{v1.NodePoolLabelKey: n.Pool, corev1.LabelHostname: n.Name}, n.Labels)
	annotations := map[string]string{}
	if n.DoNotDisrupt {
		annotations[v1.DoNotDisruptAnnotationKey] = "true"
	}
	created := metav1.Time{Time: now.Add(-time.Duration(n.Age * float64(time.Second)))}
	claim := &v1.NodeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.Name, UID: types.UID(n.Name), Labels: labels, Annotations: annotations, CreationTimestamp: created,
		},
		Spec: v1.NodeClaimSpec{
			Taints:       taints(n.Taints),
			NodeClassRef: &v1.NodeClassReference{Group: "karpenter.k8s.aws", Kind: "EC2NodeClass", Name: "default"},
		},
		Status: v1.NodeClaimStatus{
			ProviderID: "aws:///a/" + n.Name, NodeName: n.Name,
			Capacity: quantities(n.Capacity), Allocatable: quantities(n.Allocatable),
		},
	}
	claim.StatusConditions().SetTrue(v1.ConditionTypeLaunched)
	if !n.Initialized {
		return claim, nil
	}
	claim.StatusConditions().SetTrue(v1.ConditionTypeRegistered)
	claim.StatusConditions().SetTrue(v1.ConditionTypeInitialized)
	conditions := claim.GetConditions()
	for i := range conditions {
		conditions[i].LastTransitionTime = created
	}
	claim.SetConditions(conditions)
	if n.SincePods != nil {
		claim.Status.LastPodEventTime = metav1.Time{Time: now.Add(-time.Duration(*n.SincePods * float64(time.Second)))}
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.Name, UID: types.UID(n.Name), Annotations: annotations, CreationTimestamp: created,
			Labels: lo.Assign(labels, map[string]string{v1.NodeRegisteredLabelKey: "true", v1.NodeInitializedLabelKey: "true"}),
		},
		Spec: corev1.NodeSpec{ProviderID: claim.Status.ProviderID, Taints: taints(n.Taints)},
		Status: corev1.NodeStatus{
			Capacity: quantities(n.Capacity), Allocatable: quantities(n.Allocatable),
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
	return claim, node
}

func nodeClass() *awsv1.EC2NodeClass {
	return &awsv1.EC2NodeClass{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
}
