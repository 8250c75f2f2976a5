package control

import (
	"net/http"

	"lab-vcenter/internal/vcenter"
)

// administration are the verbs for what an administrator does, or what befalls the estate.
func administration(mux *http.ServeMux, s *vcenter.Server) {
	mux.HandleFunc("GET /limits", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Limits()) })
	mux.HandleFunc("PUT /limits", func(w http.ResponseWriter, r *http.Request) { done(w, s.SetLimits(r.Body)) })
	mux.HandleFunc("POST /hosts/state", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Host  string `json:"host"`
			State string `json:"state"`
		}
		if decode(w, r, &body) {
			done(w, s.SetHost(body.Host, body.State))
		}
	})
	mux.HandleFunc("POST /hosts/remove", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Host string `json:"host"`
		}
		if decode(w, r, &body) {
			done(w, s.RemoveHost(body.Host))
		}
	})
	mux.HandleFunc("POST /datastores/state", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Datastore   string   `json:"datastore"`
			FreeGiB     *float64 `json:"freeGib"`
			Accessible  *bool    `json:"accessible"`
			Maintenance *bool    `json:"maintenance"`
		}
		if decode(w, r, &body) {
			done(w, s.SetDatastore(body.Datastore, body.FreeGiB, body.Accessible, body.Maintenance))
		}
	})
	mux.HandleFunc("POST /policies", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Policy     string   `json:"policy"`
			Datastores []string `json:"datastores"`
		}
		if decode(w, r, &body) {
			done(w, s.SetPolicy(body.Policy, body.Datastores))
		}
	})
	type machine struct {
		VM           string `json:"vm"`
		Folder       string `json:"folder"`
		Name         string `json:"name"`
		InstanceUUID string `json:"instanceUuid"`
	}
	machines := func(verb string, act func(machine) (string, error)) {
		mux.HandleFunc("POST /vms/"+verb, func(w http.ResponseWriter, r *http.Request) {
			var body machine
			if !decode(w, r, &body) {
				return
			}
			switch made, err := act(body); {
			case err != nil || made == "":
				done(w, err)
			default:
				answer(w, map[string]string{"moref": made})
			}
		})
	}
	machines("move", func(m machine) (string, error) { return "", s.MoveVM(m.VM, m.Folder) })
	machines("rename", func(m machine) (string, error) { return "", s.RenameVM(m.VM, m.Name) })
	machines("destroy", func(m machine) (string, error) { return "", s.DestroyVM(m.VM) })
	machines("clone", func(m machine) (string, error) { return s.CloneVM(m.VM, m.Name, m.Folder, m.InstanceUUID) })
	mux.HandleFunc("POST /users/password", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			User     string `json:"user"`
			Password string `json:"password"`
		}
		if decode(w, r, &body) {
			done(w, s.SetPassword(body.User, body.Password))
		}
	})
	mux.HandleFunc("POST /certificate", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			NewAuthority bool `json:"newAuthority"`
		}
		if !decode(w, r, &body) {
			return
		}
		pause, err := seconds(r, 0)
		file := ""
		if err == nil {
			file, err = s.NewCertificate(body.NewAuthority, pause)
		}
		if err != nil {
			done(w, err)
			return
		}
		answer(w, map[string]string{"ca": file})
	})
}
