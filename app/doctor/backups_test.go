package doctor_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pintle/pintle/app/backup"
)

func TestDoctorNamesWhatIsWrongWithBackups(t *testing.T) {
	dir := func(t *testing.T, i *installation) string {
		path := t.TempDir()
		i.set = append(i.set, "backup.every=24h", "backup.directory="+path)
		return path
	}
	scheduled := func(age time.Duration) func(*testing.T, *installation) {
		return func(t *testing.T, i *installation) {
			path := dir(t, i)
			made, err := backup.Write(t.Context(), backup.Options{Database: i.db}, filepath.Join(path, "b.db"))
			must(t, err)
			must(t, os.Rename(made.File, filepath.Join(path, "pintle-"+made.Installation+"-"+time.Now().Add(-age).UTC().Format("20060102T150405Z")+".db")))
		}
	}
	diagnose(t, []diagnosis{
		{"no schedule", func(*testing.T, *installation) {}, []string{"ok backups: none are made by themselves"}},
		{"a folder that is missing", func(_ *testing.T, i *installation) {
			i.set = append(i.set, "backup.every=24h", "backup.directory="+i.dir+"/x")
		},
			[]string{"fault backups: …x does not exist"}},
		{"no backup yet", func(t *testing.T, i *installation) { dir(t, i) }, []string{"warning backups: there is none in"}},
		{"a new one", scheduled(time.Hour), []string{"ok backups: the newest in"}},
		{"an old one", scheduled(3 * day), []string{"warning backups: the newest in …, and backup.every is 24h"}},
	})
}
