package main

// What a scenario says, one JSON object a line on standard input.

type Scenario struct {
	Settings      Settings       `json:"settings"`
	InstanceTypes []InstanceType `json:"instanceTypes"`
	Pools         []Pool         `json:"pools"`
	Overlays      []Overlay      `json:"overlays"`
	Daemons       []Class        `json:"daemons"`
	Classes       []Class        `json:"classes"`
	Pods          []Pod          `json:"pods"`
	Nodes         []Node         `json:"nodes"`
	Budgets       []PodBudget    `json:"podBudgets"`
	// Consolidate asks for the first command of the disruption controller instead of a provisioning pass.
	Consolidate bool `json:"consolidate"`
}

type Settings struct {
	MinValues   string `json:"minValues"`
	Preferences string `json:"preferences"`
	SpotToSpot  bool   `json:"spotToSpot"`
}

type Requirement struct {
	Key       string   `json:"key"`
	Operator  string   `json:"operator"`
	Values    []string `json:"values"`
	MinValues *int     `json:"minValues"`
}

type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

type Toleration struct {
	Key      string `json:"key"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
	Effect   string `json:"effect"`
}

type Offering struct {
	CapacityType string  `json:"capacityType"`
	Zone         string  `json:"zone"`
	Price        float64 `json:"price"`
	Available    bool    `json:"available"`
}

type InstanceType struct {
	Name      string            `json:"name"`
	Capacity  map[string]string `json:"capacity"`
	Overhead  map[string]string `json:"overhead"`
	Labels    []Requirement     `json:"labels"`
	Offerings []Offering        `json:"offerings"`
}

type Budget struct {
	Nodes   string   `json:"nodes"`
	Reasons []string `json:"reasons"`
}

type Pool struct {
	Name             string            `json:"name"`
	Weight           int32             `json:"weight"`
	Labels           map[string]string `json:"labels"`
	Requirements     []Requirement     `json:"requirements"`
	Taints           []Taint           `json:"taints"`
	Limits           map[string]string `json:"limits"`
	InstanceTypes    []string          `json:"instanceTypes"`
	Policy           string            `json:"policy"`
	ConsolidateAfter *float64          `json:"consolidateAfter"`
	Budgets          []Budget          `json:"budgets"`
}

type Overlay struct {
	Name         string            `json:"name"`
	Weight       int32             `json:"weight"`
	Requirements []Requirement     `json:"requirements"`
	Capacity     map[string]string `json:"capacity"`
	Price        string            `json:"price"`
	Adjustment   string            `json:"adjustment"`
}

type Spread struct {
	Key           string            `json:"key"`
	MaxSkew       int32             `json:"maxSkew"`
	Selector      map[string]string `json:"selector"`
	Unsatisfiable string            `json:"unsatisfiable"`
	MinDomains    *int32            `json:"minDomains"`
}

type Term struct {
	Key      string            `json:"key"`
	Selector map[string]string `json:"selector"`
}

type Preferred struct {
	Weight       int32         `json:"weight"`
	Requirements []Requirement `json:"requirements"`
}

type Class struct {
	Name         string            `json:"name"`
	Requests     map[string]string `json:"requests"`
	Selector     map[string]string `json:"selector"`
	Affinity     [][]Requirement   `json:"affinity"`
	Preferred    []Preferred       `json:"preferred"`
	Tolerations  []Toleration      `json:"tolerations"`
	Labels       map[string]string `json:"labels"`
	Spreads      []Spread          `json:"spreads"`
	Near         []Term            `json:"near"`
	Apart        []Term            `json:"apart"`
	Priority     int32             `json:"priority"`
	DeletionCost int               `json:"deletionCost"`
	DoNotDisrupt bool              `json:"doNotDisrupt"`
}

type Pod struct {
	Class   int    `json:"class"`
	Created int64  `json:"created"`
	UID     string `json:"uid"`
}

type Node struct {
	Name         string            `json:"name"`
	Pool         string            `json:"pool"`
	Labels       map[string]string `json:"labels"`
	Taints       []Taint           `json:"taints"`
	Capacity     map[string]string `json:"capacity"`
	Allocatable  map[string]string `json:"allocatable"`
	Initialized  bool              `json:"initialized"`
	Deleting     bool              `json:"deleting"`
	DoNotDisrupt bool              `json:"doNotDisrupt"`
	Age          float64           `json:"age"`
	SincePods    *float64          `json:"sincePods"`
	Pods         []Pod             `json:"pods"`
}

type PodBudget struct {
	Selector map[string]string `json:"selector"`
	Allowed  int32             `json:"allowed"`
}

// What comes of it, one JSON object a line on standard output.

type Result struct {
	New      []NewNode           `json:"new"`
	Existing map[string][]string `json:"existing"`
	Errors   map[string]string   `json:"errors"`
	Refused  []string            `json:"refused"`
	Command  *Command            `json:"command,omitempty"`
	// CPU time, user and system, of deciding; objects are made before.
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

type NewNode struct {
	Pool         string   `json:"pool"`
	Pods         []string `json:"pods"`
	Types        []string `json:"types"`
	Named        []string `json:"named"`
	Launched     string   `json:"launched"`
	CapacityType string   `json:"capacityType"`
	Price        float64  `json:"price"`
}

type Command struct {
	Method       string    `json:"method"`
	Candidates   []string  `json:"candidates"`
	Replacements []NewNode `json:"replacements"`
}
