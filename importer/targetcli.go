package importer

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/isantarget/isantarget/configs"
)

// targetcli reads what rtslib saves (RTSRoot.dump) of the kernel's target, LIO.
func (b *builder) targetcli(root *entry) {
	luns := map[string]lioObject{} // by "/backstores/fileio/name"
	for _, so := range root.all("storage_objects") {
		plugin, name := so.text("plugin"), so.text("name")
		luns["/backstores/"+plugin+"/"+name] = lioObject{b.storageObject(so, plugin, name), b.lioStates(so)}
	}
	for _, f := range root.all("fabric_modules") {
		b.fabric(f)
	}
	for _, t := range root.all("targets") {
		if fabric := t.text("fabric"); fabric != "iscsi" {
			b.remark(t, "target %s of the fabric %q is left out: only iSCSI is served here", t.text("wwn"), fabric)
			continue
		}
		b.lioTarget(t, luns)
	}
	if b.limits {
		b.remarkAt(0, "the limits that LIO tells of its disks are not taken over, isantarget has its own: %s", strings.Join(lioLimits(), ", "))
	}
}

// fabric takes over the proof that discovery wants.
func (b *builder) fabric(f *entry) {
	if f.text("name") != "iscsi" {
		b.remark(f, "settings of the fabric %q are left out: only iSCSI is served here", f.text("name"))
		return
	}
	if !f.on("discovery_enable_auth", false) {
		return
	}
	chap := b.credential(f, f.text("discovery_userid"), f.text("discovery_password"))
	mutual := b.lioMutual(f, "discovery_mutual_userid", "discovery_mutual_password")
	b.config.Discovery = configs.Discovery{CHAP: chap, MutualCHAP: mutual}
}

func (b *builder) lioMutual(e *entry, user, password string) *configs.Credential {
	if name := e.text(user); name != "" {
		return b.credential(e, name, e.text(password))
	}
	e.leave(password)
	return nil
}

// A lioObject is a storage object: the LUN that it has become, empty: none, and its ALUA
// groups that do not lead to it as well as any other.
type lioObject struct {
	name   string
	groups map[string]configs.AccessState
}

// lioDefaults are the settings of a device, a target portal group, an ACL and the
// negotiation that LIO writes down and that nobody has changed (Linux 6.1): of these
// nothing is said.
func lioDefaults() map[string]string {
	return map[string]string{
		"emulate_dpo": "1", "emulate_fua_read": "1", "emulate_fua_write": "1", "emulate_rest_reord": "0", "emulate_tas": "1",
		"emulate_ua_intlck_ctrl": "0", "emulate_rsoc": "1", "enforce_pr_isids": "1", "force_pr_aptpl": "0", "pi_prot_format": "0", "pi_prot_type": "0", "pi_prot_verify": "0",
		"submit_type": "0", "complete_type": "1",

		"cache_dynamic_acls": "0", "default_cmdsn_depth": "64", "default_erl": "0", "demo_mode_discovery": "1", "fabric_prot_type": "0",
		"login_keys_workaround": "1", "login_timeout": "15", "netif_timeout": "2", "prod_mode_write_protect": "0", "t10_pi": "0",
		"tpg_enabled_sendtargets": "1", "cmd_completion_affinity": "-1",

		"dataout_timeout": "3", "dataout_timeout_retries": "5", "nopin_response_timeout": "30", "nopin_timeout": "15",
		"random_datain_pdu_offsets": "0", "random_datain_seq_offsets": "0", "random_r2t_offsets": "0",

		"DataDigest": "CRC32C,None", "HeaderDigest": "CRC32C,None", "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes",
		"DefaultTime2Retain": "20", "DefaultTime2Wait": "2", "ErrorRecoveryLevel": "0", "FirstBurstLength": "65536", "IFMarkInt": "Reject",
		"IFMarker": "No", "ImmediateData": "Yes", "InitialR2T": "Yes", "MaxBurstLength": "262144", "MaxConnections": "1", "MaxOutstandingR2T": "1",
		"MaxRecvDataSegmentLength": "8192", "MaxXmitDataSegmentLength": "262144", "OFMarkInt": "Reject", "OFMarker": "No", "TargetAlias": "LIO Target",
	}
}

// lioUnchanged marks what below e is as LIO has it where nobody has set it.
func lioUnchanged(e *entry) {
	if e == nil {
		return
	}
	defaults := lioDefaults()
	for _, one := range e.below {
		if value, known := defaults[one.key]; known && one.words0() == value {
			one.used = true
		}
	}
}

// lioLimits are what LIO works out of each disk for itself.
func lioLimits() []string {
	return []string{"is_nonrot", "max_unmap_block_desc_count", "max_unmap_lba_count", "max_write_same_len", "optimal_sectors", "queue_depth",
		"unmap_granularity", "unmap_granularity_alignment", "unmap_zeroes_data"}
}

// lioStates are the ALUA groups of a storage object that say something of a path.
func (b *builder) lioStates(so *entry) map[string]configs.AccessState {
	groups := map[string]configs.AccessState{}
	for _, a := range so.all("alua_tpgs") {
		name, number := a.text("name"), a.number("alua_access_state", 0)
		s := configs.AccessState{Preferred: a.on("preferred", false)}
		switch number { // SPC-4 6.37
		case 0:
			s.State = configs.Optimized
		case 1:
			s.State = configs.NonOptimized
		case 2:
			s.State = configs.Standby
		case 3:
			s.State = configs.Unavailable
		default:
			b.note(a, "the access state %d of the ALUA group %q of %s has no equal; it is unavailable here", number, name, so.text("name"))
			s.State = configs.Unavailable
		}
		// Which states a group may be in, how it is told of, and how long that takes, is the same for all here.
		a.leave("alua_access_status", "alua_access_type", "alua_support_active_nonoptimized", "alua_support_active_optimized", "alua_support_offline",
			"alua_support_standby", "alua_support_transitioning", "alua_support_unavailable", "alua_write_metadata", "implicit_trans_secs",
			"nonop_delay_msecs", "tg_pt_gp_id", "trans_delay_msecs")
		if s.State != configs.Optimized || s.Preferred {
			groups[name] = s
		}
	}
	return groups
}

// storageObject makes a LUN of a backstore, and is the name of it.
func (b *builder) storageObject(so *entry, plugin, name string) string {
	l := newLUN(name, so.text("dev"))
	product := map[string]string{"fileio": "FILEIO", "block": "IBLOCK", "ramdisk": "RAMDISK-MCP"}[plugin]
	switch plugin {
	case "fileio", "block":
		l.WriteCache = so.on("write_back", false)
		l.ReadOnly = so.on("readonly", false)
	case "ramdisk":
		l.Kind = configs.Memory
		n, _ := strconv.ParseInt(so.text("size"), 10, 64)
		l.Size = configs.Size(n)
		b.note(so, "storage object %s is memory: what is on it does not come along", name)
	default:
		b.remark(so, "storage object %s of the kind %q has no equal and is left out, with the LUNs that lead to it", name, plugin)
		return ""
	}
	so.leave("size", "aio") // an image has its own size; how LIO does its I/O is its own matter
	l.Name = b.lunName(name)
	attributes := so.one("attributes")
	if attributes != nil {
		b.blockSize(attributes, &l, attributes.number("block_size", 0))
		if attributes.on("emulate_model_alias", false) {
			product = name
		}
		// What it says of itself by these is always there here.
		attributes.leave("emulate_tpu", "emulate_tpws", "emulate_3pc", "emulate_caw", "emulate_pr", "emulate_write_cache", "alua_support", "pgr_support")
		lioUnchanged(attributes)
		for _, limit := range lioLimits() {
			b.limits = attributes.one(limit) != nil || b.limits
		}
	}
	lioIdentity(&l, so.text("wwn"), product)
	return b.addLUN(so, l)
}

// lioIdentity gives a LUN the names that LIO tells (target_core_spc.c): the unit serial
// number is the WWN; the NAA name is 6h, the company id 001405h, and the first 25
// hexadecimal digits of it, whatever stands between them; the T10 name is vendor,
// "product:serial". There is no EUI-64 name.
func lioIdentity(l *configs.LUN, wwn, product string) {
	l.Serial, l.Vendor, l.Product, l.Revision = wwn, "LIO-ORG", product, "4.0"
	l.EUI64 = configs.NoDesignator
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return r
		}
		return -1
	}, strings.ToLower(wwn))
	l.NAA = configs.Designator(fmt.Sprintf("6001405%-25.25s", digits))
	l.NAA = configs.Designator(strings.ReplaceAll(string(l.NAA), " ", "0"))
	l.T10 = t10("LIO-ORG", fmt.Sprintf("%.16s:%s", product, wwn))
}

// lioTarget makes a target of its target portal groups. All of ours have the same LUNs
// and rules; so those that have others than the first, by their tags, are left out.
func (b *builder) lioTarget(e *entry, luns map[string]lioObject) {
	t := configs.Target{Name: e.text("wwn")}
	lioUnchanged(e.one("parameters"))
	tpgs := e.all("tpgs") // in any order
	slices.SortStableFunc(tpgs, func(x, y *entry) int { return x.number("tag", 1) - y.number("tag", 1) })
	var portals []listener
	first := true
	for _, tpg := range tpgs {
		tag := tpg.number("tag", 1)
		if !tpg.on("enable", true) {
			b.remark(tpg, "portal group %d of %s is disabled and is left out", tag, t.Name)
			continue
		}
		one := b.lioGroup(tpg, t.Name, tag, luns)
		if !first && !(maps.Equal(one.LUNs, t.LUNs) && reflect.DeepEqual(one.Rules, t.Rules) && one.Access == t.Access && reflect.DeepEqual(one.CHAP, t.CHAP)) {
			b.remark(tpg, "portal group %d of %s is left out: it has LUNs or rules of its own, which a target has only once here; make it a target of its own", tag, t.Name)
			continue
		}
		states := append(t.AccessStates, one.AccessStates...)
		if first {
			t, first = one, false
		}
		t.AccessStates = states
		portals = append(portals, b.lioPortals(tpg, tag)...)
	}
	if first {
		b.note(e, "no portal group of %s is enabled; the target is left out", t.Name)
		return
	}
	if len(t.Rules) == 0 && t.Access == configs.AccessDefault {
		b.note(e, "%s admits nobody; here it is nobody but this host", t.Name)
	}
	b.addTarget(e, t, portals)
}

func (b *builder) lioPortals(tpg *entry, tag int) (portals []listener) {
	for _, p := range tpg.all("portals") {
		address := p.text("ip_address")
		if p.on("iser", false) || p.on("offload", false) {
			b.note(p, "portal %s: iSER and offload have no equal; it becomes one of TCP", address)
		}
		if l, ok := b.listenerOf(p, strings.Trim(address, "[]"), tag); ok {
			l.portal = withPort(l.portal, p.number("port", configs.Port))
			portals = append(portals, l)
		}
	}
	return portals
}

// withPort is a portal with another TCP port.
func withPort(p configs.Portal, port int) configs.Portal {
	host := string(p)[:strings.LastIndexByte(string(p), ':')]
	return configs.Portal(fmt.Sprintf("%s:%d", host, port))
}

// lioGroup reads LUNs and access rules of a target portal group.
func (b *builder) lioGroup(tpg *entry, target string, tag int, luns map[string]lioObject) configs.Target {
	t := configs.Target{Name: target, LUNs: map[int]string{}}
	for _, lun := range tpg.all("luns") {
		n, path := lun.number("index", 0), lun.text("storage_object")
		object := luns[path]
		lun.leave("alias")
		state, is := object.groups[lun.text("alua_tg_pt_gp_name")]
		if object.name == "" {
			b.note(lun, "LUN %d of %s is left out, as is what it leads to (%s)", n, target, filepath.Base(path))
			continue
		}
		t.LUNs[n] = object.name
		if is {
			state.PortalGroup, state.LUNs = tag, []string{object.name}
			t.AccessStates = append(t.AccessStates, state)
		}
	}
	if parameters := tpg.one("parameters"); parameters != nil {
		if lioUnchanged(parameters); !parameters.one("TargetAlias").is(lioDefaults()["TargetAlias"]) {
			t.Alias = parameters.text("TargetAlias")
		}
		parameters.leave("AuthMethod") // follows from authentication
	}
	attributes := tpg.one("attributes")
	authentication := attributes.on("authentication", false)
	chap := b.lioCHAP(tpg, authentication)
	mutual := b.lioMutual(tpg, "chap_mutual_userid", "chap_mutual_password")
	if chap != nil {
		t.CHAP, t.MutualCHAP = chap, mutual
	}
	lioUnchanged(attributes)
	acls := tpg.all("node_acls") // in any order
	slices.SortStableFunc(acls, func(x, y *entry) int { return strings.Compare(x.text("node_wwn"), y.text("node_wwn")) })
	for _, acl := range acls {
		if r, ok := b.lioRule(acl, target, t.LUNs, authentication); ok {
			t.Rules = append(t.Rules, r)
		}
	}
	readOnly := attributes.on("demo_mode_write_protect", true)
	if attributes.on("generate_node_acls", false) {
		attributes.leave("cache_dynamic_acls") // whether it remembers whom it has admitted
	}
	switch dynamic := attributes.on("generate_node_acls", false); {
	case dynamic && readOnly:
		b.note(attributes, "%s let everybody read and nobody write (generate_node_acls, demo_mode_write_protect), which has no equal: "+
			`they are not admitted. Write access = "open" to let them do both`, target)
	case dynamic && authentication && t.CHAP == nil:
		b.note(attributes, "%s admits everybody with authentication, but has no user for it; nobody is admitted but by a rule, or this host where there is none", target)
	case dynamic:
		t.Access = configs.Open
	default:
		t.CHAP, t.MutualCHAP = nil, nil
	}
	return t
}

// lioCHAP is the proof that e asks for; nil: none.
func (b *builder) lioCHAP(e *entry, wanted bool) *configs.Credential {
	user, password := e.text("chap_userid"), e.text("chap_password")
	if user == "" {
		return nil
	}
	if !wanted {
		b.note(e, "the user %s and the secret are left out: nobody was asked for them (authentication is 0)", user)
		return nil
	}
	return b.credential(e, user, password)
}

// lioRule makes an access rule of a node ACL; false: nobody could log in by it.
func (b *builder) lioRule(acl *entry, target string, group map[int]string, authentication bool) (configs.Rule, bool) {
	name := acl.text("node_wwn")
	if attributes := acl.one("attributes"); attributes != nil {
		lioUnchanged(attributes)
		if own := attributes.number("authentication", -1); own >= 0 { // -1: that of the portal group
			authentication = own > 0
		}
	}
	r := configs.Rule{Label: acl.text("tag"), Initiators: []string{name}, CHAP: b.lioCHAP(acl, authentication)}
	if mutual := b.lioMutual(acl, "chap_mutual_userid", "chap_mutual_password"); r.CHAP != nil {
		r.MutualCHAP = mutual
	}
	if authentication && r.CHAP == nil {
		b.remark(acl, "%s had to prove itself, but had no user, so that it could not log in; its rule is left out", name)
		return r, false
	}
	luns := map[int]string{}
	for _, m := range acl.all("mapped_luns") {
		m.leave("alias")
		n, lun := m.number("index", 0), group[m.number("tpg_lun", -1)]
		switch {
		case lun == "":
			b.note(m, "LUN %d is left out of what %s sees: what it leads to is left out", n, name)
		case m.on("write_protect", false):
			b.note(m, "LUN %d is left out of what %s sees: it might only read it, and a LUN is read-only for all or for nobody here", n, name)
		default:
			luns[n] = lun
		}
	}
	if !maps.Equal(luns, group) {
		r.LUNs = luns
	}
	return r, true
}
