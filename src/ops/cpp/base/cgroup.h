// The share of the machine's cores that Linux gives to this process's control groups: containers have a quota.
#pragma once

namespace densenet {

// The smallest quota of the groups that the process is in and of those above them, in whole cores, rounded up: half a
// core more than one takes two threads to use. INT_MAX without one. The arguments name /proc/self/cgroup and
// /proc/self/mountinfo.
int cores_of_cgroups(const char* own_groups, const char* mounts);

}  // namespace densenet
