#pragma once

#include "drivers/sql/text.hpp"

/// The statements that a database has to have, for what all databases of servers do alike. Where nothing else
/// is said, `$1`, `$2` … are the columns of a table that is named, in their order, and what is read is all of
/// it.
namespace tidemill::sql_store {

using sql::Sql;

struct WriteStatements {
  Sql add_tasks;   ///< Rows of queue, state, lane and tasks: into the counters.
  Sql add_deltas;  ///< Rows of queue, state and tasks.
  Sql grow;        ///< Rows of queue, name, size, first_at and last_at: into the groups.
  Sql grow_later;
  Sql count_signal;  ///< For those who look for themselves whether there are signals.
};

struct InsideStatements {
  Sql get_identity;   ///< What makes these tables the store's own.
  Sql database_name;  ///< Of the connection, for people.
};

struct LockStatements {
  Sql get;        ///< Of a name, held at $2: name, owner, fence, until.
  Sql get_held;   ///< The same of at most $3 behind the name $1, held at $2, by name.
  Sql set_until;  ///< Name, owner and fence; if it is held at $4, it is so until $5.
  Sql drop;       ///< Name, owner and fence; if it is held at $4.
};

struct DocumentStatements {
  Sql get_some;  ///< Of a table of n, folder and name, those valid at the time after it: n and the document.
  Sql get_folder;     ///< Of folder $1, at most $4 documents behind the name $2 that are valid at $3.
  Sql lock_versions;  ///< Of a table of folder and name, locked: folder, name, version, expires_at.
  Sql lock_counter;   ///< The last version that was given, locked.
  Sql set_counter;
  Sql put;  ///< Folder, name, version, expires_at, text; over what is there.
  Sql drop;
};

struct ScheduleStatements {
  Sql get_all;   ///< Id, owner, rule, paused, next, last.
  Sql get_due;   ///< Those not paused, due at $1.
  Sql put_new;   ///< Unless it is there.
  Sql put_over;  ///< If its next instant is $7.
  Sql erase;     ///< Those with one of the ids.
};

struct EditStatements {
  Sql edit_task;      ///< Row $1: line, kind, payload, options from priority to headers, unique key.
  Sql move_to_queue;  ///< Row $1: queue, line, at.
  Sql holds_key;      ///< Whether row $3 holds key $2 of queue $1 at $4; locked.
  Sql has_key;        ///< Whether anybody does.
  Sql forget_key;     ///< If it has run out at $3.
  Sql pass_key_on;    ///< To queue $3 as key $4.
};

struct FindStatements {
  Sql all_queues;   ///< Number and name, by name.
  Sql one_queue;    ///< By name.
  Sql seen_states;  ///< Queue and state of all counts that aren't 0.
  Sql next_rows;    ///< Behind a line, a time and a number, up to line $4, at most $5 rows: `read_row`.
};

struct TaskStatements {
  Sql get_refs;     ///< Of a table of queue and id: `read_row`.
  Sql lock_refs;    ///< The same; locked.
  Sql get_keys;     ///< Of a table of queue, unique_key and seq: seq, length, outlives; if held at the time
                    ///< after it.
  Sql free_keys;    ///< Of such a table, those that don't outlive their tasks.
  Sql orphan_keys;  ///< Of such a table: they are nobody's.
  Sql erase_tasks;  ///< Of a table of seq.
  Sql erase_attempts;  ///< Of a table of seq.
  Sql erase_logs;      ///< Of a table of seq.
};

struct ReportStatements {
  Sql end_attempts;   ///< Of a table: Ends::rows_; then no_claim.
  Sql add_attempts;   ///< Rows: Ends::attempts_.
  Sql drop_attempts;  ///< Of row $1, up to $2.
  Sql change_tasks;   ///< Of a table of seq and line; at, no_claim, ended_at, purge_at, reason, fresh.
  Sql set_signals;    ///< Of a table of seq.
};

struct KeyStatements {
  Sql has_ids;      ///< Of a table of n, queue and id: n of those that there are.
  Sql get_holders;  ///< Of a table of n, queue and unique_key, if held at the time after it: n, id and seq of
                    ///< the holder; line, attempt and crashes of its row; outlives.
  Sql get_holders_now;  ///< The same, as others have committed it by now, in a caller's transaction too.
  Sql lock_task;        ///< Row $1: `read_row`.
  Sql overwrite;  ///< Row $1: line, at, kind, payload, options from priority to expires_at, group, headers.
  Sql get_schedule;   ///< Schedule $1: next, paused; locked.
  Sql move_schedule;  ///< Schedule $1: next, last.
};

struct RenewalStatements {
  Sql get_signal;    ///< For worker $1; locked.
  Sql put_worker;    ///< Id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at; without a
                     ///< signal.
  Sql erase_worker;  ///< Worker $1.
  Sql add_logs;      ///< Rows of seq, n and lines.
  Sql count_logs;    ///< Of a table of seq and n.
  Sql add_stats;     ///< Rows of span, at, queue, kind, success, failure, crash, busy: to what is there.
};

struct SweepStatements {
  Sql queues_with;   ///< State and queue of all that have tasks active, scheduled or to be retried.
  Sql any_leftover;  ///< Whether anything else is over at $1, silent since $2, of minutes before $3, of days
                     ///< before $4.
  Sql take_over;     ///< Of a table of seq and claim: until, worker.
  Sql drop_keys;     ///< Over at $1, at most $2; as are workers, locks, documents.
  Sql drop_workers;
  Sql drop_stats;  ///< Of span $1, before $2, at most $3.
  Sql drop_locks;
  Sql drop_documents;
  Sql drop_sessions;  ///< Those that nobody has used for a day.
};

/// Queue and name come first.
struct GroupStatements {
  Sql lock;
  Sql end;         ///< If it is empty.
  Sql grow;        ///< By $3 tasks, the first and the last at $4 and $5.
  Sql get_joined;  ///< At most $1 groups that callers' transactions have brought tasks to or taken some from.
  Sql leave_later;  ///< In a caller's transaction: one task less.
  Sql full;         ///< Names of groups in queue $1 that have $2 tasks, at most $3.
  Sql long_waiting;
  Sql quiet;
  /// Whether the queue's next group has $2 tasks; when one may be looked at again, has been quiet, has
  /// waited.
  Sql least_times;
  Sql rested;  ///< In queue $1, as of $2.
  Sql rest;    ///< Until $3.
  Sql take;    ///< Its size, first and last time; locked, unless it is so or rests.
  Sql add_set;
  Sql get_set;  ///< The group of set $1 in queue $2; locked.
  Sql drop_set;
  Sql get_lapsed;  ///< At most $2 sets whose lease has run out at $1: id, queue, group.
  Sql list;        ///< In queue $1, at most $3 behind the name $2.
};

struct CatalogStatements {
  Sql get_attempts;  ///< Of queue $1 and id $2: `read_attempts`.
  Sql set_paused;    ///< Of queue $1.
  Sql lock_counts;   ///< Of queue $1.
  Sql count_all;     ///< Of queue $1: how many rows of counts there are, and their sum.
  Sql erase_counts;  ///< Of queue $1.
  Sql erase_deltas;
  Sql get_workers;    ///< Heard of since $1: `read_workers`.
  Sql signal_worker;  ///< Worker $1.
  Sql get_stats;      ///< Of span $1, from $2 to before $3: `read_stats`.
};

}  // namespace tidemill::sql_store
