// The real Karpenter's scheduler, NodeOverlays and consolidation, and its AWS provider's filters, fed with scenarios.
// One JSON object a line in, one a line out. No cluster, no network: objects live in controller-runtime's fake client.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"syscall"
	"time"

	awsv1 "github.com/aws/karpenter-provider-aws/pkg/apis/v1"
	instancefilter "github.com/aws/karpenter-provider-aws/pkg/providers/instance/filter"
	"github.com/awslabs/operatorpkg/status"
	"github.com/go-logr/logr"
	"github.com/samber/lo"
	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/apis/v1alpha1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/overlay"
	"sigs.k8s.io/karpenter/pkg/controllers/disruption"
	"sigs.k8s.io/karpenter/pkg/controllers/nodeoverlay"
	"sigs.k8s.io/karpenter/pkg/controllers/provisioning"
	provisioner "sigs.k8s.io/karpenter/pkg/controllers/provisioning/scheduling"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	"sigs.k8s.io/karpenter/pkg/events"
	"sigs.k8s.io/karpenter/pkg/operator/options"
	"sigs.k8s.io/karpenter/pkg/scheduling"
	"sigs.k8s.io/karpenter/pkg/state/virtualpods"
)

// launchTypes is the provider's own (unexported) maxInstanceTypes.
const launchTypes = 60

// cloud is a cloud that has the scenario's instance types and launches nothing.
type cloud struct {
	byPool map[string][]*cloudprovider.InstanceType
}

func (c *cloud) Create(context.Context, *v1.NodeClaim) (*v1.NodeClaim, error) {
	return nil, fmt.Errorf("nothing is launched here")
}
func (c *cloud) Delete(context.Context, *v1.NodeClaim) error        { return nil }
func (c *cloud) Get(context.Context, string) (*v1.NodeClaim, error) { return nil, fmt.Errorf("none") }
func (c *cloud) List(context.Context) ([]*v1.NodeClaim, error)      { return nil, nil }
func (c *cloud) RepairPolicies() []cloudprovider.RepairPolicy       { return nil }
func (c *cloud) Name() string                                       { return "scenario" }
func (c *cloud) GetSupportedNodeClasses() []status.Object {
	return []status.Object{&awsv1.EC2NodeClass{}}
}
func (c *cloud) IsDrifted(context.Context, *v1.NodeClaim) (cloudprovider.DriftReason, error) {
	return "", nil
}
func (c *cloud) GetInstanceTypes(_ context.Context, pool *v1.NodePool) ([]*cloudprovider.InstanceType, error) {
	return c.byPool[pool.Name], nil
}

// accept is a validator that finds every command valid: nothing changes while it is thought about.
type accept struct{}

func (accept) Validate(_ context.Context, cmd disruption.Command, _ time.Duration) (disruption.Command, error) {
	return cmd, nil
}

func main() {
	log.SetLogger(logr.Discard())
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<28)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var scenario Scenario
		if err := json.Unmarshal(in.Bytes(), &scenario); err != nil {
			fmt.Fprintln(os.Stderr, "reading a scenario:", err)
			os.Exit(2)
		}
		result, err := run(&scenario)
		if err != nil {
			result.Error = err.Error()
		}
		lo.Must0(out.Encode(result))
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "reading scenarios:", err)
		os.Exit(2)
	}
}

func run(scenario *Scenario) (result Result, err error) {
	result = Result{Existing: map[string][]string{}, Errors: map[string]string{}, New: []NewNode{}, Refused: []string{}}
	ctx := log.IntoContext(context.Background(), logr.Discard())
	ctx = options.ToContext(ctx, &options.Options{
		BatchMaxDuration: 10 * time.Second, BatchIdleDuration: time.Second, CPURequests: 1000,
		MinValuesPolicy:   options.MinValuesPolicy(scenario.Settings.MinValues),
		PreferencePolicy:  options.PreferencePolicy(scenario.Settings.Preferences),
		IgnoreDRARequests: true,
		FeatureGates:      options.FeatureGates{NodeOverlay: true, SpotToSpotConsolidation: scenario.Settings.SpotToSpot},
	})
	known := lo.SliceToMap(scenario.InstanceTypes, func(it InstanceType) (string, *cloudprovider.InstanceType) {
		return it.Name, instanceType(it)
	})
	provider := &cloud{byPool: map[string][]*cloudprovider.InstanceType{}}
	objects := []client.Object{nodeClass()}
	for _, p := range scenario.Pools {
		provider.byPool[p.Name] = lo.Map(p.InstanceTypes, func(name string, _ int) *cloudprovider.InstanceType { return known[name] })
		objects = append(objects, nodePool(p))
	}
	for _, o := range scenario.Overlays {
		objects = append(objects, nodeOverlay(o))
	}
	for _, d := range scenario.Daemons {
		objects = append(objects, daemonSet(d))
	}
	for at, b := range scenario.Budgets {
		objects = append(objects, podBudget(b, at))
	}
	for _, p := range scenario.Pods {
		objects = append(objects, podOf(scenario.Classes[p.Class], p, ""))
	}
	var claims []*v1.NodeClaim
	var nodes []*corev1.Node
	for _, n := range scenario.Nodes {
		claim, node := claimAndNode(n, scenario.Classes)
		claims = append(claims, claim)
		objects = append(objects, claim)
		if node == nil {
			continue
		}
		nodes = append(nodes, node)
		objects = append(objects, node)
		for _, p := range n.Pods {
			objects = append(objects, podOf(scenario.Classes[p.Class], p, n.Name))
		}
	}
	kube := fakeclient.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.NodeOverlay{}, &v1.NodePool{}, &v1.NodeClaim{}).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithIndex(&corev1.Node{}, "spec.providerID", func(o client.Object) []string { return []string{o.(*corev1.Node).Spec.ProviderID} }).
		WithIndex(&v1.NodeClaim{}, "status.providerID", func(o client.Object) []string { return []string{o.(*v1.NodeClaim).Status.ProviderID} }).
		Build()

	clock := clocktesting.NewFakeClock(now)
	cluster := state.NewCluster(clock, kube, provider)
	store := nodeoverlay.NewInstanceTypeStore()
	if _, err := nodeoverlay.NewController(clock, kube, provider, store, cluster).Reconcile(ctx, reconcile.Request{}); err != nil {
		return result, fmt.Errorf("overlays: %w", err)
	}
	var overlays v1alpha1.NodeOverlayList
	lo.Must0(kube.List(ctx, &overlays))
	for i := range overlays.Items {
		if !overlays.Items[i].StatusConditions().IsTrue(v1alpha1.ConditionTypeValidationSucceeded) {
			result.Refused = append(result.Refused, overlays.Items[i].Name)
		}
	}
	decorated := overlay.Decorate(provider, kube, store)
	for _, claim := range claims {
		// Karpenter's own controller says so once consolidateAfter is over; here the scenario's ages do.
		if consolidatable(scenario, claim) {
			claim.StatusConditions().SetTrue(v1.ConditionTypeConsolidatable)
		}
		cluster.UpdateNodeClaim(claim)
	}
	for _, node := range nodes {
		if err := cluster.UpdateNode(ctx, node); err != nil {
			return result, fmt.Errorf("node %s: %w", node.Name, err)
		}
	}
	var bound corev1.PodList
	lo.Must0(kube.List(ctx, &bound))
	for i := range bound.Items {
		if bound.Items[i].Spec.NodeName != "" {
			lo.Must0(cluster.UpdatePod(ctx, &bound.Items[i]))
		}
	}
	for _, n := range scenario.Nodes {
		if n.Deleting {
			cluster.MarkForDeletion("aws:///a/" + n.Name)
		}
	}
	recorder := events.NewRecorder(&record.FakeRecorder{})
	prov := provisioning.NewProvisioner(kube, recorder, decorated, cluster, clock, nil, virtualpods.NewVirtualPodCache(kube))
	start := cpu()
	if scenario.Consolidate {
		result.Command, err = consolidate(ctx, kube, cluster, prov, decorated, recorder, clock)
		result.Seconds = cpu() - start
		return result, err
	}
	results, err := prov.Schedule(ctx)
	result.Seconds = cpu() - start
	if err != nil {
		return result, err
	}
	for _, n := range results.NewNodeClaims {
		result.New = append(result.New, newNode(ctx, n))
	}
	for _, n := range results.ExistingNodes {
		if len(n.Pods) > 0 {
			result.Existing[n.Name()] = uids(n.Pods)
		}
	}
	for p, e := range results.PodErrors {
		result.Errors[string(p.UID)] = e.Error()
	}
	return result, nil
}

// cpu is the CPU time that this process has used, in seconds.
func cpu() float64 {
	var used syscall.Rusage
	lo.Must0(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

func uids(pods []*corev1.Pod) []string {
	return lo.Map(pods, func(p *corev1.Pod, _ int) string { return string(p.UID) })
}

func consolidatable(scenario *Scenario, claim *v1.NodeClaim) bool {
	node, _ := lo.Find(scenario.Nodes, func(n Node) bool { return n.Name == claim.Name })
	pool, found := lo.Find(scenario.Pools, func(p Pool) bool { return p.Name == node.Pool })
	if !found || !node.Initialized || pool.ConsolidateAfter == nil {
		return false
	}
	since := node.Age
	if node.SincePods != nil {
		since = *node.SincePods
	}
	return since >= *pool.ConsolidateAfter
}

// newNode is a NodeClaim as it would be created, and what the AWS provider would ask EC2 for.
func newNode(ctx context.Context, n *provisioner.NodeClaim) NewNode {
	its := n.InstanceTypeOptions
	made := NewNode{
		Pool: n.NodePoolName, Pods: uids(n.Pods),
		Types: lo.Map(its, func(it *cloudprovider.InstanceType, _ int) string { return it.Name }),
	}
	sort.Strings(made.Types)
	claim := n.ToNodeClaim()
	reqs := scheduling.NewNodeSelectorRequirementsWithMinValues(claim.Spec.Requirements...)
	left := lo.Map(its, func(it *cloudprovider.InstanceType, _ int) *cloudprovider.InstanceType {
		// Filters change the list of offerings; types are shared between pools.
		return &cloudprovider.InstanceType{
			Name: it.Name, Requirements: it.Requirements, Offerings: it.Offerings, Capacity: it.Capacity, Overhead: it.Overhead,
		}
	})
	for _, filter := range []instancefilter.Filter{
		instancefilter.CompatibleAvailableFilter(reqs, claim.Spec.Resources.Requests),
		instancefilter.CapacityReservationTypeFilter(reqs),
		instancefilter.CapacityBlockFilter(reqs),
		instancefilter.ReservedOfferingFilter(reqs),
		instancefilter.ExoticInstanceTypeFilter(reqs),
		instancefilter.SpotOfferingFilter(reqs),
	} {
		left, _ = filter.FilterReject(left)
	}
	left, err := cloudprovider.InstanceTypes(left).Truncate(ctx, reqs, launchTypes)
	if err != nil || len(left) == 0 {
		return made
	}
	made.Named = lo.Map(left, func(it *cloudprovider.InstanceType, _ int) string { return it.Name })
	for _, capacityType := range []string{v1.CapacityTypeReserved, v1.CapacityTypeSpot, v1.CapacityTypeOnDemand} {
		if !reqs.Get(v1.CapacityTypeLabelKey).Has(capacityType) {
			continue
		}
		narrowed := scheduling.NewRequirements(reqs.Values()...)
		narrowed[v1.CapacityTypeLabelKey] = scheduling.NewRequirement(v1.CapacityTypeLabelKey, corev1.NodeSelectorOpIn, capacityType)
		made.Price = math.MaxFloat64
		for _, it := range left {
			for _, o := range it.Offerings.Available().Compatible(narrowed) {
				if o.Price < made.Price || (o.Price == made.Price && it.Name < made.Launched) {
					made.Price, made.Launched, made.CapacityType = o.Price, it.Name, capacityType
				}
			}
		}
		if made.Launched != "" {
			return made
		}
	}
	made.Price = 0
	return made
}

// consolidate is the first command that the disruption controller's methods find, in its order.
func consolidate(
	ctx context.Context, kube client.Client, cluster *state.Cluster, prov *provisioning.Provisioner,
	provider cloudprovider.CloudProvider, recorder events.Recorder, clock *clocktesting.FakeClock,
) (*Command, error) {
	queue := disruption.NewQueue(kube, recorder, cluster, clock, prov)
	c := disruption.MakeConsolidation(clock, cluster, kube, prov, provider, recorder, queue)
	valid := disruption.WithValidator(accept{})
	methods := []disruption.Method{
		disruption.NewEmptiness(c, valid), disruption.NewMultiNodeConsolidation(c, valid), disruption.NewSingleNodeConsolidation(c, valid),
	}
	for at, method := range methods {
		candidates, err := disruption.GetCandidates(ctx, cluster, kube, recorder, clock, provider, method.ShouldDisrupt, method.Class(), queue)
		if err != nil {
			return nil, err
		}
		if len(candidates) == 0 {
			continue
		}
		budgets, err := disruption.BuildDisruptionBudgetMapping(ctx, cluster, clock, kube, provider, recorder, method.Reason())
		if err != nil {
			return nil, err
		}
		commands, err := method.ComputeCommands(ctx, budgets, candidates...)
		if err != nil {
			return nil, err
		}
		for _, cmd := range commands {
			if cmd.Decision() == disruption.NoOpDecision {
				continue
			}
			made := &Command{
				Method:       []string{"empty", "multi-node", "single-node"}[at],
				Candidates:   lo.Map(cmd.Candidates, func(each *disruption.Candidate, _ int) string { return each.Name() }),
				Replacements: []NewNode{},
			}
			for _, replacement := range cmd.Replacements {
				made.Replacements = append(made.Replacements, newNode(ctx, replacement.NodeClaim))
			}
			sort.Strings(made.Candidates)
			return made, nil
		}
	}
	return nil, nil
}
