// Package admin is the plane by which a running daemon is looked at and changed:
// HTTP with JSON on a Unix socket in its state directory and, where the configuration
// says so, over the network; and a client for it.
//
//	GET    /openapi.json                    all of this for programs
//	GET    /status                          all of what follows, at one glance
//	GET    /                                the web page and its files
//	GET    /login                           who asks, and what it may do
//	POST   /login                           {"token": "..."}: a cookie that stands for it, for the page
//	POST   /logout                          end that
//	GET    /sessions                        who is logged in
//	DELETE /sessions/{tsih}                 log an initiator out
//	GET    /luns                            the LUNs, and the access state of each path
//	PUT    /luns/{lun}/access-states/{group}  {"state": "standby"}: change one
//	GET    /stores                          what the stores have and have promised, and what happened to their space
//	GET    /snapshots                       the snapshots of all LUNs
//	POST   /snapshots                       {"luns": ["a", "b"], "name": "noon"}: take them, at one point in time
//	GET    /luns/{lun}/snapshots            those of one
//	GET    /luns/{lun}/snapshots/{snapshot}   one of them
//	DELETE /luns/{lun}/snapshots/{snapshot}   delete it: the answer is a job
//	POST   /luns/{lun}/rollback             {"snapshot": "noon", "force": false}
//	POST   /luns/{lun}/clone                {"snapshot": "noon", "name": "copy", "path": ""}: make an image for a LUN
//	GET    /targets                         the targets and their portals
//	GET    /reservations                    registrations and reservations, by LUN
//	GET    /reservations/{lun}              those of one
//	DELETE /reservations/{lun}              clear them, whoever holds them
//	GET    /luns/{lun}                      all of one: sizes, extents, identity, sessions
//	POST   /luns/{lun}/defragment           lay its image together; answers with the job
//	POST   /luns/{lun}/grow                 {"size": "+10GiB"}: make it bigger; answers with the job
//	POST   /luns/{lun}/shrink               {"size": "10GiB", "allow-data-loss": true}: make it smaller; answers with the job
//	POST   /luns/{lun}/verify               {"rate": "50MiB"}: read all that is allocated of it; answers with the job
//	POST   /luns/{lun}/copy                 {"name": "new", "snapshot": "noon", "store": "tank"}: make a whole copy of it; answers with the job
//	GET    /jobs                            the long operations that run, and those that have ended of late
//	GET    /jobs/{job}                      one of them
//	DELETE /jobs/{job}                      ask it to end; when it has, its state is final
//	POST   /reload                          apply the configuration file again
//	POST   /apply                           {"file": "/..."}: the same, if that is the file
//	POST   /plan                            {"name", "dir", "text"}: what the file would change if it said text
//	GET    /load                            what has been done, by LUN, target and session: counters that only grow
//	GET    /metrics                         all that is counted and measured, for Prometheus
//	GET    /events                          what happens, as it happens (server-sent events), behind Last-Event-ID
//	GET    /config                          the whole configuration that runs; ?format=toml as a file
//	GET    /config/{table}                  the objects of a table of the configuration: lun, target, ...
//	POST   /config/{table}                  make one; the body has the keys of the TOML table
//	GET    /config/{table}/{name}           one of them, with its version as ETag
//	PUT    /config/{table}/{name}           make it, or with If-Match: VERSION change it
//	DELETE /config/{table}/{name}           with If-Match; ?image=delete removes the image of a LUN too
//	POST   /changes                         {"put": [...], "delete": [...]}: many of these, all or none
//
// A failure has a status of 400 or more and the body {"error": "..."}, which says
// what to do; lines in it are separate errors. 404 is for what is not there, 409 for
// what is busy, has ended, is there already or stands in the file of a person, 412 for a
// version that is not the one that is there any more, 428 for a change that names none,
// and 422 for what was refused, a configuration or what a LUN is not fit for. After each
// of them nothing has changed.
//
// The socket has the mode 0660: who may open it may do everything. A daemon does not
// take the socket of another one that answers; one that was left by a daemon which was
// killed it replaces. Every request has a bound in bytes and time; requests run
// beside each other, and changes one after the other.
//
// Over the network everything wants a token (RFC 6750), but for the files of the page: 401
// is for who shows none that is good, 429 for who shows wrong ones, 403 for one that is only
// to read, or a page of another site. A browser shows the token once, to POST /login; a request
// with the cookie that changes something has to come from our own page. Without TLS, which
// goes on loopback alone, 421 is for who asks for us by a foreign name (DNS rebinding).
package admin
