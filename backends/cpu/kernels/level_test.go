package kernels

import "testing"

func TestSetLevelRefusesWhatIsNotThere(t *testing.T) {
	before := CurrentLevel()
	if err := SetLevel(AMX + 1); err == nil {
		t.Error("SetLevel(unknown) = nil, want an error")
	}
	if got := CurrentLevel(); got != before {
		t.Errorf("CurrentLevel() = %v after a refusal, want %v", got, before)
	}
}

func TestBestIsTheLastLevel(t *testing.T) {
	levels := Levels()
	if levels[0] != Portable || Best() != levels[len(levels)-1] {
		t.Errorf("Levels() = %v, Best() = %v", levels, Best())
	}
	t.Logf("levels of this machine: %v", levels)
}

func TestLevelNames(t *testing.T) {
	for level, want := range map[Level]string{Portable: "portable", AVX2: "avx2", AVX512: "avx512", AVX512VNNI: "avx512vnni", AVX512BF16: "avx512bf16", AMX: "amx", 9: "level(9)"} {
		if got := level.String(); got != want {
			t.Errorf("Level(%d).String() = %q, want %q", level, got, want)
		}
	}
}
