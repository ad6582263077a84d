#include "dataset.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "message.h"
#include "temporary_folder.h"
#include "utils.h"

using namespace densenet;

namespace {

std::string Refusal(const std::string& dataset, const std::string& path) {
  return Message<Error>([&] { ListSamples(dataset, path); });
}

// A record whose red is 1, green 2 and blue 3 but for the first two red pixels.
std::string Record(char label) {
  return label + std::string("\x0a\x14") + std::string(1022, 1) + std::string(1024, 2) + std::string(1024, 3);
}

}  // namespace

TEST_CASE("class folders and their pictures come in the order of their names") {
  const TemporaryFolder folder;
  for (const auto* name :
       {"b/2.PNG", "b/10.jpeg", "a c/x.y.jpg", "b/notes.txt", "b/._1.jpg", "b/inner/3.jpg", ".git/4.jpg", "loose.jpg",
        "b/.jpg", "b/folder.jpg/5.jpg", "b/3.JFIF", "__MACOSX/6.jpg", "@eaDir/7.jpg", "b/README"}) {
    folder.Write(name, "");
  }
  folder.Write("b/IMG_0001", "\xff\xd8\xff\xe0");  // without an ending, but it begins as a JPEG
  std::filesystem::create_symlink("nowhere", folder / "b/dangling.bmp");
  std::vector<std::string> names, stems;
  for (const auto& sample : ListSamples("folder", folder.path())) {
    names.push_back(sample.name);
    stems.push_back(sample.stem);
  }
  CHECK(names ==
        std::vector<std::string>{"a c/x.y.jpg", "b/10.jpeg", "b/2.PNG", "b/3.JFIF", "b/IMG_0001", "b/dangling.bmp"});
  CHECK(stems == std::vector<std::string>{"x.y", "10", "2", "3", "IMG_0001", "dangling"});
}

TEST_CASE("folders without pictures, or with two that would share a result, are refused") {
  const TemporaryFolder folder;
  CHECK(Contains(Refusal("imagenet", folder / "missing"), "missing cannot be read: No such file or directory"));
  CHECK(Contains(Refusal("imagenet", folder.path()), "has no class folders"));
  folder.Write("a/notes.txt", "");
  CHECK(Contains(Refusal("folder", folder.path()), "hold no pictures"));
  folder.Write("a/1.jpg", "");
  folder.Write("a/1.png", "");
  CHECK(Refusal("folder", folder.path()) ==
        "a/1.jpg and a/1.png would both be written to a/1_0.bin; give each picture a name of its own");
}

TEST_CASE("a name in several class folders gives each class a folder of results") {
  const TemporaryFolder folder;
  for (const auto* name : {"cat/IMG_0012.jpg", "dog/IMG_0012.JPG", "dog/IMG_0013.jpg"}) folder.Write(name, "");
  std::vector<std::string> stems;
  for (const auto& sample : ListSamples("folder", folder.path())) stems.push_back(sample.stem);
  CHECK(stems == std::vector<std::string>{"cat/IMG_0012", "dog/IMG_0012", "dog/IMG_0013"});
}

TEST_CASE("classes that are all numbers come in the order of their values") {
  const auto order = [](const std::vector<std::string>& classes) {
    const TemporaryFolder folder;
    for (const auto& name : classes) folder.Write(name + "/" + name + ".jpg", "");
    std::string found;
    for (const auto& sample : ListSamples("folder", folder.path())) found += sample.stem + " ";
    return found;
  };
  CHECK(order({"10", "2", "0"}) == "0 2 10 ");
  CHECK(order({"10", "2", "x"}) == "10 2 x ");
  CHECK(order({"10", "2", "02"}) == "02 10 2 ");
}

TEST_CASE("one picture, or those directly in a folder, can be asked without labels") {
  const TemporaryFolder folder;
  const auto file = folder.Write("holiday 1.jpg", "");
  folder.Write("b.png", "");
  folder.Write("notes.txt", "");
  folder.Write("inner/c.png", "");
  const auto one = ListSamples("pictures", file);
  REQUIRE(one.size() == 1);
  CHECK(one[0].name == "holiday 1.jpg");
  CHECK(one[0].stem == "holiday 1");
  const auto all = ListSamples("pictures", folder.path());
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "b.png");
  std::filesystem::create_directory(folder / "empty");
  CHECK(Contains(Refusal("pictures", folder / "empty"), "holds no pictures; expected them directly in it"));
}

TEST_CASE("CIFAR-10 records are found in a folder or a file, their planes become pixels") {
  const TemporaryFolder folder;
  const auto file = folder.Write("cifar-10-batches-bin/test_batch.bin", Record(9) + Record(0));
  for (const auto& path : {file, folder.path(), folder / "cifar-10-batches-bin"}) {
    const auto samples = ListSamples("cifar10", path);
    REQUIRE(samples.size() == 2);
    CHECK(samples[1].stem == "test_batch_00001");
  }
  const Image image = ReadSample(ListSamples("cifar10", file)[1], {true, false, false});
  CHECK(image.height == 32);
  const std::vector<uint8_t> first_pixels(image.rgb.begin(), image.rgb.begin() + 9);
  CHECK(first_pixels == std::vector<uint8_t>{10, 2, 3, 20, 2, 3, 1, 2, 3});
}

TEST_CASE("what is no CIFAR-10 file is refused") {
  const TemporaryFolder folder;
  CHECK(Contains(Refusal("cifar10", folder.path()), "holds no test_batch.bin"));
  CHECK(Contains(Refusal("cifar10", folder / "x.bin"), "x.bin cannot be read: No such file or directory"));
  CHECK(Contains(Refusal("cifar10", folder.Write("empty.bin", "")), "has 0 bytes, not whole records"));
  CHECK(Contains(Refusal("cifar10", folder.Write("cut.bin", Record(1).substr(1))), "has 3072 bytes, not whole"));
  CHECK(Contains(Refusal("cifar10", folder.Write("label.bin", Record(1) + Record(10))), "the label 10 in record 1"));
}

TEST_CASE("a file that is no picture is named") {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& content) {
    return Message<Error>([&] { ReadSample({"x", "x", folder.Write("x.jpg", content), {}}, {true, false, false}); });
  };
  CHECK(Contains(refusal(""), "x.jpg should be a complete JPEG or PNG picture, found 0 bytes: it is empty"));
  CHECK(Contains(refusal("BM 12345"), "found a BMP picture; convert it to PNG or JPEG"));
  CHECK(Contains(refusal("text"), "found 4 bytes: it is neither JPEG nor PNG; convert it"));
  CHECK(Contains(refusal("\xff\xd8\xff\xe0"), "found 4 bytes: it is truncated"));
  CHECK(Contains(refusal("\x89PNG\r\n\x1a\n\x01"), "found 9 bytes: it is truncated"));
}
