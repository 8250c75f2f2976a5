package vcenter

import (
	"strconv"

	"github.com/vmware/govmomi/vim25/types"
)

// texts are those a vCenter sends with its faults, in its English locale.
var texts = map[string]string{
	"InvalidLogin":               "Cannot complete login due to an incorrect user name or password.",
	"NotAuthenticated":           "The session is not authenticated.",
	"ManagedObjectNotFound":      "The object has already been deleted or has not been completely created",
	"InvalidPowerState":          "The attempted operation cannot be performed in the current state.",
	"InvalidState":               "The operation is not allowed in the current state.",
	"DuplicateName":              "The name already exists.",
	"InvalidArgument":            "A specified parameter was not correct.",
	"InvalidProperty":            "The property is not known.",
	"InvalidRequest":             "The request is not valid.",
	"InsufficientResourcesFault": "The available resources are insufficient for the operation.",
	"RuntimeFault":               "A general runtime error occurred.",
	"SystemError":                "A general system error occurred.",
	"NoPermission":               "Permission to perform this operation was denied.",
	"RequestCanceled":            "The request was canceled.",
	"InvalidCollectorVersion":    "The version given is not one that this collector knows.",
	"ConcurrentAccess":           "Another operation changed the object in the meantime.",
	"TaskInProgress":             "The operation cannot be allowed at the current time because the virtual machine has a task in progress.",
	"NotSupported":               "The operation is not supported on the object.",
	"ToolsUnavailable":           "Cannot complete operation because VMware Tools is not running in this virtual machine.",
}

func message(fault string) string {
	if text, ok := texts[fault]; ok {
		return text
	}
	return "The operation failed: " + fault + "."
}

// refusal is a fault with its text.
type refusal struct {
	fault types.BaseMethodFault
	text  string
}

func (r *refusal) Error() string { return r.text }

func refuse(fault types.BaseMethodFault) *refusal {
	return &refusal{fault: fault, text: message(typeName(fault))}
}

func refuseText(fault types.BaseMethodFault, text string) *refusal {
	return &refusal{fault: fault, text: text}
}

// systemError carries what went wrong outside the API, such as at the hypervisor.
func systemError(err error) *refusal {
	return &refusal{
		fault: &types.SystemError{Reason: err.Error()},
		text:  "A general system error occurred: " + err.Error(),
	}
}

func formatUint(n uint64) string { return strconv.FormatUint(n, 10) }
