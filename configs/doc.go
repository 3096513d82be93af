// Package configs is the one schema of an isantarget: what a configuration
// file, the flags of `isantarget serve` and anything else that asks for a
// change say, in one set of nouns.
//
//   - A portal group (RFC 7143 3.4.1) is the addresses that one session may
//     span; a portal is one of them.
//   - A store is a directory in which images live, by name.
//   - A LUN is a medium and how it is shown: its image or device, its size, its
//     block sizes, its caches.
//   - A target (an iSCSI node, RFC 7143 2.1) has a name and maps logical unit
//     numbers to LUNs. Its rules say which initiators may log in, how they prove
//     who they are (CHAP, RFC 7143 12.1.3), and what each of them sees.
//
// The keys are written as the flags are: kebab-case. [Load] reads TOML,
// [FromFlags] reads flags; both end in the same decoder, so that a key exists
// in both or in neither. Every error of a configuration is found at once and
// says where it stands, what is wrong and what to write instead.
//
// The package looks at no disk but the file it is given and opens no secret:
// whether a LUN can be opened is found by package provision, which can still
// name the line through [Config.Errorf].
package configs
