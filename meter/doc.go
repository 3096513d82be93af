// Package meter counts what commands do and measures how long they take, at a cost that
// nobody notices.
//
// A command's time is divided into three phases, which together are all of it: Queue
// (from its arrival until work on it begins: its turn in CmdSN order, in the task set,
// memory, a free processor), Store (work on it) and Network (data that its initiator
// owes, and the answer on its way into the socket). A Stopwatch in the command adds
// them up.
//
// What has ended is collected in a Tally, by whoever writes the answers of a connection,
// and published once for a batch of answers: a batch of equal commands costs as many
// atomic additions as one command. So counts are exact, but a moment behind the answers.
// Nothing is sampled, nothing allocated, and no lock taken.
//
// What is counted stands in a Row (one kind of command of a logical unit) and in two Flows
// (session and target), each with histograms of the whole time and of the phases. What a
// logical unit (a Unit) has done is what its Rows have counted. All numbers only grow.
package meter
