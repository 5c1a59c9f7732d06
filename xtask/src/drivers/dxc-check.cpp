// dxc-check LIBRARY PROFILE LIST, a file with lines "FILE ENTRY": HLSL to DXIL by DXC's library, with the
// arguments that wgpu gives it. Prints a line per failure and a sum; exit code 1 if any failed.
#include "WinAdapter.h"
#include "dxcapi.h"
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

int main(int count, char **words) {
    if (count != 4) return std::fprintf(stderr, "usage: dxc-check LIBRARY PROFILE LIST\n"), 2;
    void *library = dlopen(words[1], RTLD_NOW);
    if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 2;
    auto create = (DxcCreateInstanceProc)dlsym(library, "DxcCreateInstance");
    IDxcCompiler3 *compiler = nullptr;
    if (!create || create(CLSID_DxcCompiler, __uuidof(IDxcCompiler3), (void **)&compiler) != 0)
        return std::fprintf(stderr, "%s has no compiler\n", words[1]), 2;
    std::string profile = words[2];
    std::wstring wide_profile(profile.begin(), profile.end());
    auto start = std::chrono::steady_clock::now();
    std::ifstream list(words[3]);
    std::string file, entry;
    int made = 0, failed = 0;
    while (list >> file >> entry) {
        std::ifstream in(file);
        if (!in) return std::fprintf(stderr, "cannot read %s\n", file.c_str()), 2;
        std::stringstream text;
        text << in.rdbuf();
        std::string source = text.str();
        std::wstring wide_entry(entry.begin(), entry.end());
        std::vector<LPCWSTR> arguments = {
            L"-E",   wide_entry.c_str(), L"-T",    wide_profile.c_str(),    L"-HV",
            L"2018", L"-no-warnings",    L"-Ges", L"-enable-16bit-types"};
        DxcBuffer buffer{source.data(), source.size(), DXC_CP_UTF8};
        IDxcResult *result = nullptr;
        HRESULT status = compiler->Compile(&buffer, arguments.data(), (UINT32)arguments.size(),
                                           nullptr, __uuidof(IDxcResult), (void **)&result);
        if (status == 0) result->GetStatus(&status);
        IDxcBlob *code = nullptr;
        if (status == 0) result->GetResult(&code);
        if (code && code->GetBufferSize() > 0) {
            made++;
        } else {
            failed++;
            IDxcBlobEncoding *why = nullptr;
            if (result) result->GetErrorBuffer(&why);
            std::string said;
            if (why) said.assign((char *)why->GetBufferPointer(), why->GetBufferSize());
            std::printf("FAILED %s: %.300s\n", file.c_str(), said.c_str());
            if (why) why->Release();
        }
        if (code) code->Release();
        if (result) result->Release();
    }
    std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::printf("texts: %d of HLSL, %d failed (DXC); %.0f s\n", made + failed, failed, taken.count());
    std::fflush(stdout);
    _Exit(failed || !made ? 1 : 0);  // the library's own end takes seconds
}
