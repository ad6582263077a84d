#include "base/cgroup.h"

#include <climits>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace densenet {
namespace {

// Where a hierarchy of groups is mounted, and which of its groups is seen there as the root.
struct Hierarchy {
  std::string place, root;
  bool is_version2;
};

bool has_word(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// Of /proc/self/mountinfo: those that may hold a quota of cores.
std::vector<Hierarchy> hierarchies(const char* mounts) {
  std::vector<Hierarchy> found;
  std::ifstream file(mounts);
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash)), after(line.substr(dash + 3));
    std::string word, root, place, type, source, options;
    before >> word >> word >> word >> root >> place;
    after >> type >> source >> options;
    const bool is_version2 = type == "cgroup2";
    if (is_version2 || (type == "cgroup" && has_word(options, "cpu"))) found.push_back({place, root, is_version2});
  }
  return found;
}

// This process's group in a hierarchy, as /proc/self/cgroup tells it; empty if it tells none.
std::string own_group(const char* own_groups, bool is_version2) {
  std::ifstream file(own_groups);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_version2 ? controllers.empty() : has_word(controllers, "cpu")) return line.substr(second + 1);
  }
  return "";
}

// In cores, or infinite.
double quota_in(const std::string& folder, bool is_version2) {
  double quota = -1, period = 0;
  if (is_version2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;  // `max`, no number, means none
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : HUGE_VAL;
}

}  // namespace

int cores_of_cgroups(const char* own_groups, const char* mounts) {
  double cores = HUGE_VAL;
  for (const Hierarchy& hierarchy : hierarchies(mounts)) {
    std::string group = own_group(own_groups, hierarchy.is_version2);
    if (hierarchy.root != "/" && group.rfind(hierarchy.root, 0) == 0) group.erase(0, hierarchy.root.size());
    for (;;) {
      cores = std::fmin(cores, quota_in(hierarchy.place + group, hierarchy.is_version2));
      const size_t slash = group.rfind('/');
      if (slash == std::string::npos) break;
      group.erase(slash);
    }
  }
  return cores < INT_MAX ? static_cast<int>(std::ceil(cores)) : INT_MAX;
}

}  // namespace densenet
