package config

import (
	"fmt"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// delimiter joins keys inside koanf. No key can hold it, so that header names
// and other free keys may hold dots.
const delimiter = "\x00"

// layer merges the values of the files and variables in order and puts them
// into the structs. They were checked before: an error is a bug.
func layer(layers []map[string]any, into *Config) error {
	k := koanf.New(delimiter)
	for _, values := range layers {
		if err := k.Load(confmap.Provider(values, ""), nil, koanf.WithMergeFunc(appendLists)); err != nil {
			return fmt.Errorf("merge configuration: %w", err)
		}
	}
	conf := koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{Result: into, ErrorUnused: true}}
	if err := k.UnmarshalWithConf("", into, conf); err != nil {
		return fmt.Errorf("unmarshal configuration: %w", err)
	}
	return nil
}

// appendLists merges src into dest: maps deep, lists one after the other.
func appendLists(src, dest map[string]any) error {
	for key, value := range src {
		switch value := value.(type) {
		case map[string]any:
			if below, ok := dest[key].(map[string]any); ok {
				if err := appendLists(value, below); err != nil {
					return err
				}
				continue
			}
		case []any:
			if before, ok := dest[key].([]any); ok {
				dest[key] = append(before, value...)
				continue
			}
		}
		dest[key] = value
	}
	return nil
}
